"""Methods that train several students, ready for one batch or fitted on a few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from batches import Served, collate, samples, window
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.losses import AccumulationWindow
from lit_distill.models import FreshStudent, LayerCopyStudent, Student, TeacherSpec, load_tokenizer
from lit_distill.training.distillation import Distillation

BATCH = collate(samples(4, 100), extra=2)
WINDOW = AccumulationWindow.single(BATCH, progress=0.5)
BATCHES = [collate(samples(4, 100, seed=seed)) for seed in range(8)]
SHAPE = {
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}


def carved(*layers: int) -> dict[str, Student]:
    """Students of so many layers, called large and small where there are two."""
    names = ("large", "small") if len(layers) == 2 else ("one", "two", "three")
    return {n: LayerCopyStudent(num_layers=count) for n, count in zip(names, layers, strict=False)}


def fresh(**layers: int) -> dict[str, Student]:
    """Random BERTs of so many layers by name."""
    return {
        name: FreshStudent("bert", {**SHAPE, "num_hidden_layers": count})
        for name, count in layers.items()
    }


def built(method: Distillation, folder: Path) -> Distillation:
    """Ready for the batch, in float64; dropout is off. Students are carved from the folder's."""
    teacher = TeacherSpec(str(folder)).build()
    for name, start in method.cast.student_specs.items():
        method.students[name] = start.build(teacher, 0).double()
    method.on_models_built()
    return method


def loss_and_gradients(method: Distillation) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of the batch, and the flat gradient of every student that trains."""
    loss = WINDOW.total_loss(method.losses(BATCH, WINDOW))
    trained = {
        n: [p for p in m.parameters() if p.requires_grad] for n, m in method.students.items()
    }
    trained = {name: own for name, own in trained.items() if own}
    flat = torch.autograd.grad(loss, [p for own in trained.values() for p in own])
    found = iter(flat)
    gradients = {
        name: torch.cat([next(found).flatten() for _ in own]) for name, own in trained.items()
    }
    return loss.detach(), gradients


def logits_of(model: Any, batch: Batch) -> list[list[float]]:
    """Logits at the rows of a batch, by Hugging Face's own forward."""
    with torch.no_grad():
        out = model.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    rows: list[list[float]] = out.logits.flatten(0, 1)[batch["rows"]].tolist()
    return rows


def fit(
    method: Distillation,
    tokenizer: Path,
    updates: int = 4,
    accumulate: int = 1,
    callbacks: list[Callback] | None = None,
    ckpt_path: Path | None = None,
    batches: Sequence[Batch] = BATCHES,
    **options: Any,
) -> Trainer:
    """Trains on 8 batches an epoch with the process's random numbers seeded anew."""
    train = [
        micro
        for start in range(0, 8, accumulate)
        for micro in window(list(batches[start : start + accumulate]))
    ]
    torch.manual_seed(3)
    trainer = Trainer(
        **{
            "accelerator": "cpu",
            "devices": 1,
            "max_steps": updates,
            "accumulate_grad_batches": accumulate,
            "callbacks": callbacks,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "limit_val_batches": 0,
            "log_every_n_steps": 1,
            **options,
        }
    )
    data = Served([train], list(batches[:2]), load_tokenizer(str(tokenizer)))
    trainer.fit(method, datamodule=data, ckpt_path=ckpt_path)
    return trainer


def weights(method: Distillation) -> dict[str, Tensor]:
    """Flat parameters by student."""
    return {
        name: torch.cat([p.detach().flatten() for p in model.parameters()])
        for name, model in method.students.items()
    }


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether all are equal, to the last bit."""
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)
