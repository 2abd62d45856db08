"""CausalLM is the next-token loss of the model's own logits, whatever the padding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from batches import collate, samples
from torch.nn.functional import cross_entropy
from transformers import GPT2LMHeadModel

from lit_distill.losses import AccumulationWindow
from lit_distill.methods import CausalLM
from lit_distill.models import PretrainedStudent


def test_it_equals_the_models_own_loss(tiny_gpt2: Path) -> None:
    batch = collate(samples(5, 100), extra=2, causal=True)
    spec = PretrainedStudent(str(tiny_gpt2))
    method = CausalLM(student=spec)
    method.students["student"] = spec.build(None, 0).double()
    window = AccumulationWindow.single(batch, progress=0.0)
    loss = window.total_loss(method.losses(batch, window))
    ours = torch.autograd.grad(loss, list(method.student.parameters()))

    model = GPT2LMHeadModel.from_pretrained(tiny_gpt2).double().eval()
    mask = batch["attention_mask"]
    labels = batch["input_ids"].masked_fill(mask == 0, -100)
    logits = model(input_ids=batch["input_ids"], attention_mask=mask).logits
    # its own loss, which Hugging Face computes in float32: position t predicts the token at t + 1
    theirs = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-12)
    slopes = torch.autograd.grad(theirs, list(model.parameters()))
    for one, other in zip(ours, slopes, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-14)
