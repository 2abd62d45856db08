"""The squared error of logits: no distributions, so that a common offset counts too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lit_distill.losses.rows.row_loss import Block, Scale, SoftLoss, required, upcast


@dataclass(frozen=True)
class LogitMSE(SoftLoss):
    """Squared Euclidean distance of the logits, sum_v (student_v - teacher_v)^2.

    Summed, not averaged, over the vocabulary: divided by the number of rows this is the `mse` term
    of DistilBERT's code (Sanh et al., 2019), where it has weight 0 by default.
    """

    needs_teacher: ClassVar[bool] = True
    needs_targets: ClassVar[bool] = False

    def __call__(
        self, student: Tensor, teacher: Tensor | None = None, targets: Tensor | None = None
    ) -> Tensor:
        """Values (N,); see `RowLoss`."""
        del targets
        return (upcast(student) - upcast(required(teacher, "teacher logits"))).square().sum(-1)

    def on_block(self, block: Block, scale: Scale | None) -> tuple[Tensor, Tensor | None]:
        """See `RowLoss.on_block`; the gradient is 2 (student - teacher)."""
        difference = block.student.values - block.teacher.values
        values = difference.square().sum(-1)
        return values, None if scale is None else difference.mul_(2 * scale)
