"""A callback that says before the first step what models, data and options show by themselves."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lit_distill.cli.preflight.looks import look
from lit_distill.training.distillation import Distillation


class Preflight(Callback):
    """Says what `check` finds without an update; `check` finds more.

    A run that goes on has been told.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks once, where models, data and optimizer are there."""
        if trainer.global_step or not trainer.is_global_zero:
            return
        module = Distillation.of(pl_module)
        updates, ranks = module.updates.total_steps, trainer.world_size
        for one in look(module, trainer.optimizers[0], updates, ranks):
            if one.level != "note":
                rank_zero_info(f"{one.level}, {one.about}: {one.text} {one.remedy}")
