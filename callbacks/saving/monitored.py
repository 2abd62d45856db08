"""Whether the best by a metric is the best."""

from __future__ import annotations

from lightning.pytorch import LightningModule

from lit_distill.errors import UserError
from lit_distill.training.distillation import Distillation


def check_mode(module: LightningModule, monitor: str | None, mode: str, owner: str) -> None:
    """Checks that the best of a monitored metric is not its worst.

    Args:
        module: whose measure knows the metric; others are left to the user.
        monitor: its key, as `val/accuracy`; None: none is monitored.
        mode: "min" or "max".
        owner: the callback that keeps the best.

    Raises:
        UserError: the metric is better the other way.
    """
    name = (monitor or "").rpartition("/")[2]
    for metric in Distillation.of(module).measure.metrics:
        better = "min" if metric.smaller_is_better else "max"
        if metric.name == name and mode != better:
            raise UserError(
                f"{owner} keeps the best by {monitor} with mode {mode}, which is the worst one: "
                f"set mode to {better}."
            )
