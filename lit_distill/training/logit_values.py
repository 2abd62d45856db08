"""Losses of a student's logits row by row, for terms that weigh, group or compare rows.

Shapes: N rows, K losses.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lit_distill.losses import RowLoss, TeacherSignal, row_losses
from lit_distill.models import Encoded, LanguageModel, TeacherOutputs, with_teacher


def logit_values(
    model: LanguageModel,
    losses: Sequence[RowLoss],
    rows: Tensor,
    targets: Tensor | None,
    student: Encoded,
    teacher: TeacherOutputs | None = None,
    teacher_rows: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Values of losses at flat `rows` (N,), which a method makes its own `Term` of.

    Logits are made tile by tile, and once more in the backward pass, when the factor of each value
    is known: where rows only add up, `Distillation.logit_terms` is cheaper.

    Args:
        model: the student.
        losses: K of them, computed in one pass.
        rows: flat positions (N,).
        targets: token ids (N,), `IGNORED` where a row has none; None if no loss needs them.
        student: its states; gradients flow into them and into its head.
        teacher: what `teach` gave, if a loss needs it.
        teacher_rows: see `Distillation.logit_terms`.

    Returns:
        K tensors (N,); see `row_losses`.

    Raises:
        UserError: student and teacher read other views, and `teacher_rows` is None.
    """
    states = student.rows(rows)

    def values(signal: TeacherSignal | None) -> tuple[Tensor, ...]:
        return model.with_lm_head(lambda head: row_losses(losses, head, signal, targets), states)

    return with_teacher(values, teacher, student, rows, teacher_rows)
