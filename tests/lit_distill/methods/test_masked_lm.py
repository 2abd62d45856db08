"""MaskedLM is Hugging Face's own masked-LM loss, taken on the masked rows only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from batches import Served, collate, samples
from lightning.pytorch import Trainer
from torch import nn
from transformers import BertForMaskedLM

from lit_distill.batch import row_targets
from lit_distill.losses import AccumulationWindow
from lit_distill.methods import MaskedLM
from lit_distill.models import PretrainedStudent


def test_it_equals_the_models_own_loss(tiny_bert: Path) -> None:
    batch = collate(samples(5, 100), extra=2)
    spec = PretrainedStudent(str(tiny_bert))
    method = MaskedLM(student=spec)
    method.students["student"] = spec.build(None, 0).double()
    window = AccumulationWindow.single(batch, progress=0.0)
    loss = window.total_loss(method.losses(batch, window))
    ours = torch.autograd.grad(loss, list(method.student.parameters()))

    model = BertForMaskedLM.from_pretrained(tiny_bert).double().eval()
    ids = batch["input_ids"]
    labels = row_targets(batch, torch.arange(ids.numel())).view_as(ids)
    theirs = model(input_ids=ids, attention_mask=batch["attention_mask"], labels=labels).loss
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-12)
    slopes = torch.autograd.grad(theirs, list(model.parameters()))
    for one, other in zip(ours, slopes, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-14)


def test_ranks_do_not_wait_for_a_bias_that_nobody_reads(tiny_bert: Path, tmp_path: Path) -> None:
    """An untied BERT has two biases of its head and reads one."""
    model = BertForMaskedLM.from_pretrained(tiny_bert)
    model.cls.predictions.decoder.bias = nn.Parameter(torch.zeros_like(model.cls.predictions.bias))
    model.cls.predictions.decoder.weight = nn.Parameter(
        model.bert.embeddings.word_embeddings.weight.detach() * -1
    )
    model.config.tie_word_embeddings = False
    model.save_pretrained(tmp_path / "untied")
    method = MaskedLM(student=PretrainedStudent(str(tmp_path / "untied")))
    part = [collate(samples(4, 100))] * 3
    loop = Trainer(
        accelerator="cpu", devices=2, strategy="ddp_fork", max_steps=3, logger=False,
        default_root_dir=tmp_path, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    loop.fit(method, datamodule=Served([part, part]))
    assert loop.state.finished
