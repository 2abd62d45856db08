"""What the engine refuses before it makes any logits."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lit_distill.losses.fused.head import Head
from lit_distill.losses.fused.row_pass import RowPass
from lit_distill.losses.fused.signals import TopK


def check(
    row_pass: RowPass, heads: Sequence[Head], coefficients: Sequence[float | Tensor] | None
) -> None:
    """Checks that a pass can be made.

    Args:
        row_pass: the pass.
        heads: of its models.
        coefficients: see `linear_losses` and `row_losses`.

    Raises:
        ValueError: shapes that do not fit, or a loss that lacks what it needs.
    """
    if not row_pass.losses:
        raise ValueError("There is no loss to compute.")
    _check_heads(row_pass, heads)
    for loss in row_pass.losses:
        if loss.needs_teacher and row_pass.teacher is None and len(heads) == 1:
            raise ValueError(
                f"{loss} compares with a teacher or with other models: no teacher was given, and "
                "there is only one model."
            )
        if loss.needs_targets and row_pass.targets is None:
            raise ValueError(f"{loss} reads targets, and none were given.")
    count = len(heads[0].rows)
    for name, tensor in (("Targets", row_pass.targets), ("Weights", row_pass.weights)):
        if tensor is not None and tensor.shape != (count,):
            raise ValueError(f"{name} of shape {tuple(tensor.shape)} for {count} rows.")
    if coefficients is None:
        return
    if len(coefficients) != len(row_pass.losses):
        raise ValueError(f"{len(coefficients)} coefficients for {len(row_pass.losses)} losses.")
    allowed = (1, count) if row_pass.per_row else (1,)
    for each in coefficients:
        if isinstance(each, Tensor) and each.numel() not in allowed:
            raise ValueError(f"A coefficient of shape {tuple(each.shape)} for {count} rows.")


def _check_heads(row_pass: RowPass, heads: Sequence[Head]) -> None:
    """Raises ValueError where the models' logits cannot be compared entry by entry."""
    if len(row_pass.models) != len(heads):
        raise ValueError(f"{len(row_pass.models)} models and {len(heads)} heads: give as many.")
    count, vocabulary = len(heads[0].rows), heads[0].vocabulary
    teacher = row_pass.teacher
    for head in (*heads, *(() if teacher is None else teacher.heads)):
        if (len(head.rows), head.vocabulary) != (count, vocabulary):
            raise ValueError(
                f"Logits would be {count} x {vocabulary} (rows x vocabulary) and "
                f"{len(head.rows)} x {head.vocabulary}: they are compared entry by entry."
            )
    if isinstance(teacher, TopK) and not (
        teacher.ids.shape == teacher.log_probabilities.shape and len(teacher.ids) == count
    ):
        raise ValueError(
            f"Likeliest tokens of shape {tuple(teacher.ids.shape)} and their log-probabilities of "
            f"shape {tuple(teacher.log_probabilities.shape)} for {count} rows."
        )
