"""A callback that says before the first step what models, data and options show by themselves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_info

from callbacks import RunCheckpoint
from lit_distill.cli.preflight.disk import expected_states, run_folder, too_full
from lit_distill.cli.preflight.findings import Finding
from lit_distill.cli.preflight.looks import look
from lit_distill.cli.preflight.room import available, too_large
from lit_distill.training.distillation import Distillation


class Preflight(Callback):
    """Says what `check` finds without an update; `check` finds more.

    A run that goes on has been told.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Looks at teachers before they are loaded; what is not here yet is not asked for."""
        if stage != "fit" or not trainer.is_global_zero:
            return
        specs, device = Distillation.of(pl_module).cast.teacher_specs, trainer.strategy.root_device
        ranks, split = trainer.world_size, isinstance(trainer.strategy, ModelParallelStrategy)
        room = available(device) // (ranks if device.type == "cpu" else 1)
        _say(too_large(specs, room, ranks if split else 1, ask_hub=False))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks once, where models, data and optimizer are there."""
        if trainer.global_step or not trainer.is_global_zero:
            return
        module, optimizer = Distillation.of(pl_module), trainer.optimizers[0]
        updates, ranks = module.updates.total_steps, trainer.world_size
        _say(look(module, optimizer, updates, ranks, trainer.precision))
        if any(isinstance(one, RunCheckpoint) for one in trainer.callbacks):  # type: ignore[attr-defined]
            wanted = run_folder(module, expected_states(optimizer))
            _say(too_full(Path(trainer.default_root_dir), wanted))


def _say(found: Iterable[Finding]) -> None:
    for one in found:
        if one.level != "note":
            rank_zero_info(f"{one.level}, {one.about}: {one.text} {one.remedy}")
