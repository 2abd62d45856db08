"""What validations say of a stage."""

from __future__ import annotations

import math
from collections.abc import Callable

from lightning.pytorch import Trainer

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.measures import TermMeasure, metric_of
from lit_distill.measures.measure import MeasuredMethod
from lit_distill.training.stages.stage import Stage

LOSS = "val/stage_loss"


class StageMeasure(TermMeasure):
    """The loss of a stage on validation text: its terms by its weights, of the run's end.

    Args:
        method: whose losses.
        factor: of the weight of a term of a name, in the present stage.
    """

    def __init__(self, method: MeasuredMethod, factor: Callable[[str], float]) -> None:
        super().__init__(method)
        self._factor = factor

    def start(self) -> None:
        """See `Measure`."""
        self._sums, self._by_language = {}, {}

    def update(self, batch: Batch) -> None:
        """See `Measure`; hidden tokens stay hidden, as in training."""
        self.add(batch, self._factor, leave_out=True)

    def loss(self) -> float:
        """Over all ranks; NaN where there was no text."""
        for measured in self.compute().values():
            return float(measured.mean.get("loss") or 0.0)
        return math.nan


def check_watched(stage: Stage, method: MeasuredMethod, trainer: Trainer) -> None:
    """Checks that validations can say something of a stage that waits for it.

    Raises:
        UserError: there are none, or the loss of the stage cannot be measured in them.
    """
    if not trainer.enable_validation:
        raise UserError(
            f"Stage {stage.name} is watched by validations (Plateau, restore_best), and this run "
            "has none: give it validation text and leave trainer.limit_val_batches, or end the "
            "stage with an update."
        )
    if stage.monitor is not None:
        return
    kind = type(method)
    instead = f"set its monitor to a metric of validation, as val/{method.measure.metrics[0].name}"
    if method.hears and not method.teachers:
        raise UserError(
            f"Stage {stage.name} is watched by the loss of its terms, for which {kind.__name__} "
            f"asks a live teacher, and there is none: give model.teacher.name, or {instead}."
        )
    if kind.prepare.__qualname__ != "Method.prepare":  # type: ignore[attr-defined]
        raise UserError(
            f"Stage {stage.name} is watched by the loss of its terms, and {kind.__name__} makes "
            f"the texts of that while it trains, not for validation: {instead}."
        )


def watched_value(stage: Stage, method: MeasuredMethod, trainer: Trainer) -> float:
    """What a stage's `monitor` says, negated where more is better.

    Raises:
        UserError: there is no such metric.
    """
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    known = {n: value for n, value in logged.items() if n.startswith("val/")} | {
        metric_of(f"val/{name}", student, method.students): value
        for student, measured in method.measurements.items()
        for name, value in measured.mean.items()
        if value is not None
    }
    value = known.get(str(stage.monitor))
    if value is None:
        raise UserError(
            f"Stage {stage.name}: monitor is {stage.monitor!r}, and validation has measured "
            f"{', '.join(sorted(known)) or 'nothing'}."
        )
    name = str(stage.monitor).rpartition("/")[2]
    rising = {m.name for m in method.measure.metrics if not m.smaller_is_better}
    return -value if name in rising else value
