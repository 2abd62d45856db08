"""What a method hands to `Distillation`: sums, never means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval
from torch import Tensor

from lit_distill.knobs import check_knobs
from lit_distill.losses.rows.divergences import ForwardKL
from lit_distill.losses.rows.row_loss import RowLoss, SoftLoss

Weight = Annotated[float | Callable[[float], float], Interval(ge=0, le=1e9)]
"""A factor, or a function of training progress in [0, 1] that returns one."""


@dataclass(frozen=True)
class Term:
    """An unnormalised sum and the count it is divided by.

    Only `Distillation` multiplies by weights, divides by counts (over ranks and the accumulation
    window) and logs, so that a gradient cannot depend on how a batch was split.

    Attributes:
        sum: scalar, in at least float32, the sum of the term over this micro-batch's units.
        per: the name of the count in `batch["counts"]`: tokens, masked, rows, sequences, ...
        weight: factor of the mean in the total loss, or a schedule over training progress.
    """

    sum: Tensor
    per: str
    weight: Weight = 1.0


@dataclass(frozen=True)
class LogitTerm:
    """A term still to be computed from logits, in one pass with all others on the same rows.

    Attributes:
        loss: the loss of one row.
        per: see `Term`.
        weight: see `Term`.
    """

    loss: RowLoss
    per: str
    weight: Weight = 1.0


@dataclass(frozen=True)
class SoftTarget:
    """What is learnt from a teacher about decisions, as a config says it.

    Attributes:
        loss: of one decision, with its own temperature.
        weight: of its mean; `Ramp(1, 0)` is teacher annealing.
    """

    loss: SoftLoss = ForwardKL()  # noqa: RUF009 (frozen)
    weight: Weight = 1.0

    def __post_init__(self) -> None:
        check_knobs(SoftTarget, vars(self))


def weight_at(weight: Weight, progress: float) -> float:
    """The factor at a training progress in [0, 1]."""
    return float(weight(progress)) if callable(weight) else float(weight)
