"""A tiny run whose callbacks are under test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batches import Served, collate, samples, window
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from callbacks import AtomicCheckpointIO
from lit_distill.methods import MaskedLM, MutualLearning, TripleLoss
from lit_distill.models import FreshStudent, TeacherSpec, load_tokenizer
from lit_distill.training.distillation import Distillation

BATCHES = [collate(samples(4, 100, seed=seed)) for seed in range(8)]

Fit = Callable[..., tuple[Trainer, Any]]


@pytest.fixture
def fit(tiny_bert: Path, tmp_path: Path) -> Fit:
    """Trains 8 micro-batches an epoch in `tmp_path`; gives the Trainer and the module."""

    def run(
        *callbacks: Callback,
        taught: bool = False,
        students: tuple[str, ...] = (),
        accumulate: int = 1,
        ranks: int = 1,
        ckpt_path: Path | None = None,
        **options: Any,
    ) -> tuple[Trainer, Any]:
        module: Distillation = (
            TripleLoss(teacher=TeacherSpec(str(tiny_bert)))
            if taught
            else MaskedLM(student=FreshStudent("bert", SHAPE))
        )
        if students:
            starts = {name: FreshStudent("bert", SHAPE) for name in students}
            module = MutualLearning(students=dict(starts))
        train = [
            micro
            for start in range(0, 8, accumulate)
            for micro in window(BATCHES[start : start + accumulate])
        ]
        settings = {
            "accelerator": "cpu",
            "max_epochs": 2,
            "accumulate_grad_batches": accumulate,
            "default_root_dir": tmp_path,
            "plugins": [AtomicCheckpointIO()],
            "callbacks": list(callbacks),
            "logger": False,
            "log_every_n_steps": 1,
            "enable_checkpointing": any(isinstance(c, ModelCheckpoint) for c in callbacks),
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
        }
        trainer = Trainer(**{**settings, **options})
        data = Served([train] * ranks, BATCHES[:2], load_tokenizer(str(tiny_bert)))
        trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
        return trainer, module

    return run


SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}
