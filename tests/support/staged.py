"""Runs of stages on a tiny model, and what watches them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from batches import Fixed, Served, collate, samples, window
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from shipped_methods import quiet_trainer
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.methods import TripleLoss
from lit_distill.models import LayerCopyStudent, TeacherSpec
from lit_distill.schedules import Constant
from lit_distill.training.distillation import Distillation
from lit_distill.training.stages.stage import Plateau, Stage

TEXTS = samples(6, 100)
WHOLE = [collate(TEXTS)]
PARTS = [collate(TEXTS[:1]), collate(TEXTS[1:])]  # uneven
UPDATES = 6
PLAN = [
    Stage("states", until=2, freeze=["cls"], weights={"*": 0, "cos": 2.0}),
    Stage("logits", until=4, train=["cls", "encoder.layer.1"], weights={"cos": 0, "mlm": 0.5}),
    Stage("all"),
]


WATCHED = [
    Stage("body", until=Plateau(patience=1, min_delta=0.5), freeze=["cls"], restore_best=True),
    Stage("head", until=5, train=["cls.predictions.bias"], weights={"cos": 0}, restore_best=True),
    Stage("all", rate=0.1),
]
"""Its first stage ends after the second validation, which is better by less than 0.5."""


def method(folder: Path, plan: list[Stage] | None = PLAN, **options: Any) -> TripleLoss:
    seed_everything(0, verbose=False)
    defaults = {
        "teacher": TeacherSpec(str(folder)),
        "student": LayerCopyStudent(num_layers=2),
        "dropout": 0.1,
        "optimizer": lambda groups: torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1),
        "schedule": Constant(warmup=0.0),
        "stages": plan,
    }
    return TripleLoss(**{**defaults, **options})


class Windows(Fixed):
    """A loader that goes on at any window, for all are the same."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Repeated(Served):
    """Serves windows that are all the same."""

    def train_dataloader(self) -> Windows:
        return Windows(super().train_dataloader().batches)


def descent(groups: Any) -> torch.optim.Optimizer:
    """By which gradients that are zero but for rounding make no steps, as they do by Adam."""
    return torch.optim.SGD(groups, lr=0.1, momentum=0.5, weight_decay=0.1)


def fitted(module: Distillation, ranks: list[list[Batch]], **options: Any) -> Trainer:
    start = options.pop("ckpt_path", None)
    defaults: dict[str, Any] = {"max_epochs": -1, "max_steps": UPDATES, "gradient_clip_val": 1.0}
    loop = quiet_trainer(accumulate_grad_batches=len(ranks[0]), **{**defaults, **options})
    data = Repeated([window(batches) * UPDATES for batches in ranks], WHOLE)
    loop.fit(module, datamodule=data, ckpt_path=start)
    return loop


class Stop(Callback):
    """Ends a run early, as a killed one: its schedule is that of the whole one."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.global_step >= self.after


class Watch(Callback):
    """Copies all parameters, and what has moments, at the start and after every update."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.moments: list[dict[str, Tensor]] = []
        self.losses: list[float] = []
        self.began: list[dict[str, Tensor]] = []  # at the first update of each stage

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        own = Distillation.of(pl_module).stages.progress
        if own.stages and trainer.global_step == own.began:
            named = pl_module.named_parameters()
            self.began.append({name: value.detach().clone() for name, value in named})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._note(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        self.losses.append(float(outputs["loss"]))
        self._note(trainer, pl_module)

    def _note(self, trainer: Trainer, module: LightningModule) -> None:
        named = dict(module.named_parameters())
        self.weights.append({n: p.detach().clone() for n, p in named.items() if "teach" not in n})
        states = trainer.optimizers[0].state
        self.moments.append(
            {n: states[p]["exp_avg"].clone() for n, p in named.items() if states.get(p)}
        )


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    return [name for name, value in one.items() if not torch.equal(value, other[name])]
