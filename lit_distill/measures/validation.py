"""How a validation of Lightning's computes and logs what a measure has seen."""

from __future__ import annotations

from typing import cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from lit_distill.measures.measure import MeasuredMethod, metric_of


class EndOfValidation(Callback):
    """Computes what was measured, on every rank, and logs what a run can be monitored by.

    It is the first of all callbacks, so that the others read plain data: Lightning tells callbacks
    of a validation's end in their order, and the method after them.
    """

    @classmethod
    def attach(cls, trainer: Trainer) -> None:
        """Puts it before the callbacks of the Trainer, once."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if not any(isinstance(callback, cls) for callback in callbacks):
            callbacks.insert(0, cls())

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Computes and logs; tells the method of a validation of a fit."""
        method = cast(MeasuredMethod, pl_module)
        method.measurements = method.measure.compute()
        self._log("test" if trainer.testing else "val", method)
        # Not `trainer.training`, which is False while a fit validates.
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            method.on_validated(method.measurements)

    on_test_epoch_end = on_validation_epoch_end

    def _log(self, stage: str, method: MeasuredMethod) -> None:
        for student, measured in method.measurements.items():
            for place, metric in enumerate(method.measure.metrics):
                value = measured.mean.get(metric.name) if metric.monitored else None
                if value is not None:
                    key = metric_of(f"{stage}/{metric.name}", student, method.students)
                    # Equal on all ranks: one flag avoids a warning, the other the reduction.
                    method.log(key, value, prog_bar=place == 0, sync_dist=True, rank_zero_only=True)
