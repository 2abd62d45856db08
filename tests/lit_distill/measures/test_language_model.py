"""Means and perplexities of language models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from batches import Served, collate, samples
from lightning.pytorch import Trainer

from lit_distill.measures.language_model import perplexity
from lit_distill.methods import MaskedLM
from lit_distill.models import FreshStudent, load_tokenizer

SHAPE = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 32,
}  # fmt: skip


def validated(tiny_bert: Path, folder: Path) -> tuple[Any, Any]:
    data = Served([[]], [collate(samples(5, 100))], load_tokenizer(str(tiny_bert)))
    module = MaskedLM(student=FreshStudent("bert", SHAPE))
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.validate(module, datamodule=data, verbose=False)
    return trainer, module


def test_the_perplexity_of_the_mean_is_that_of_the_mean_loss(
    tiny_bert: Path, tmp_path: Path
) -> None:
    trainer, module = validated(tiny_bert, tmp_path)
    measured = module.measurements["student"]
    loss = (measured.languages["xx"]["loss"] + measured.languages["yy"]["loss"]) / 2
    assert measured.mean["loss"] == loss
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(loss)
    for scores in (measured.mean, *measured.languages.values()):
        assert scores["perplexity"] == math.exp(scores["loss"])
    assert measured.mean["rows"] == sum(s["rows"] for s in measured.languages.values())


def test_a_report_has_its_keys_in_their_order(tiny_bert: Path, tmp_path: Path) -> None:
    _, module = validated(tiny_bert, tmp_path)
    expected = ["rows", "loss", "accuracy", "teacher_loss", "kl", "agreement", "perplexity"]
    assert list(module.measurements["student"].mean) == expected


def test_an_overflowing_perplexity_is_infinite() -> None:
    assert perplexity(1e4) == math.inf
