"""Terms on a student's logits, or values row by row; logits are made tile by tile in one pass.

Shapes: N rows, K losses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lit_distill.losses import (
    AccumulationWindow,
    LogitTerm,
    RowLoss,
    TeacherSignal,
    Term,
    linear_losses,
    row_losses,
)
from lit_distill.models import Encoded, LanguageModel, TeacherOutputs, with_teacher


def logit_terms(
    model: LanguageModel,
    terms: Mapping[str, LogitTerm],
    window: AccumulationWindow,
    rows: Tensor,
    targets: Tensor | None,
    student: Encoded,
    teacher: TeacherOutputs | None = None,
    teacher_rows: Tensor | None = None,
) -> dict[str, Term]:
    """Terms on logits at flat `rows` (N,): projected tile by tile, all in one pass.

    Terms that the update leaves out (see `stages`) are not computed.

    Args:
        model: the student.
        terms: by name.
        window: what `losses` was given: the terms' weights and counts.
        rows: flat positions (N,).
        targets: token ids (N,), `IGNORED` where a row has none; None if no term needs them.
        student: its states; gradients flow into them and into its head.
        teacher: what `teach` gave, if a term needs it.
        teacher_rows: flat positions (N,) in the view that the teacher read, one for each of `rows`;
            None: the same ones.

    Raises:
        UserError: the teacher's outputs do not do for a term; or it read another view than the
            student, and `teacher_rows` is None.
    """
    terms = {name: term for name, term in terms.items() if not window.leaves_out(name)}
    if not terms:
        return {}
    losses = [term.loss for term in terms.values()]
    shares = window.shares(terms) if torch.is_grad_enabled() else None
    if teacher is not None:
        teacher.check_losses(losses)
    states = student.rows(rows)
    sums = with_teacher(
        lambda signal: model.with_lm_head(
            lambda whole: linear_losses(losses, whole, signal, targets, shares), states
        ),
        *(teacher, student, rows, teacher_rows),
    )
    pairs = zip(terms.items(), sums, strict=True)
    return {name: Term(total, term.per, term.weight) for (name, term), total in pairs}


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
    is known: where rows only add up, `logit_terms` is cheaper.

    Args:
        model: the student.
        losses: K of them, computed in one pass.
        rows: flat positions (N,).
        targets: token ids (N,), `IGNORED` where a row has none; None if no loss needs them.
        student: its states; gradients flow into them and into its head.
        teacher: what `teach` gave, if a loss needs it.
        teacher_rows: see `logit_terms`.

    Returns:
        K tensors (N,); see `row_losses`.

    Raises:
        UserError: see `logit_terms`.
    """
    if teacher is not None:
        teacher.check_losses(losses)
    states = student.rows(rows)

    def values(signal: TeacherSignal | None) -> tuple[Tensor, ...]:
        return model.with_lm_head(lambda head: row_losses(losses, head, signal, targets), states)

    return with_teacher(values, teacher, student, rows, teacher_rows)
