"""Losses of logits that are never held: hidden rows and head weights in, sums and gradients out.

Logits are made tile by tile in two reused buffers (one per model), all losses read them there, and
the gradient with respect to the student's logits takes their place; two more products turn it into
gradients of hidden rows and head weights. Nothing of size (N, V) exists; nothing is recomputed
where the caller says beforehand what the sums will be multiplied with.

Shapes: N rows, D student width, D' teacher width, V vocabulary, K losses.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lit_distill.losses.fused.eager_gradients import TILE_BYTES, autocast_dtype, sums_of
from lit_distill.losses.fused.head import Head as Head
from lit_distill.losses.fused.signals import TeacherSignal, TopK
from lit_distill.losses.fused.tiles import RowPass
from lit_distill.losses.rows.row_loss import RowLoss


def linear_losses(
    losses: Sequence[RowLoss],
    student: Head,
    teacher: TeacherSignal | None = None,
    targets: Tensor | None = None,
    coefficients: Sequence[float | Tensor] | None = None,
    weights: Tensor | None = None,
    tile_bytes: int = TILE_BYTES,
) -> tuple[Tensor, ...]:
    """Sums of several losses over the same rows, in one pass over their logits.

    Args:
        losses: K losses; those of the same temperature share its softmax.
        student: rows (N, D), weight (V, D), bias (V,); what requires a gradient gets one.
        teacher: rows (N, D'), weight (V, D'), bias (V,), or another signal about the same rows,
            none of which gets a gradient; None if no loss needs it.
        targets: (N,) token ids, `IGNORED` where a row has none; None if no loss needs them.
        coefficients: what sum k is going to be multiplied with, up to one factor common to all K
            (such as a gradient scale). Gradients are then formed in the forward pass, once, and
            `backward` checks the promise. None: `backward` makes the pass again with whatever
            gradients arrive, which is always right, and slower.
        weights: (N,) factors of the rows, for all losses; None counts each once.
        tile_bytes: memory for the tiles of logits of all models.

    Returns:
        K scalars in at least float32, differentiable once. Without rows they are zeros whose
        gradients are zeros.

    Raises:
        ValueError: shapes that do not fit, or a loss that lacks what it needs.
        RuntimeError: in `backward`, if the incoming gradients are no multiple of `coefficients` (on
            a GPU: a device assertion, so that the host need not wait).
    """
    _check(losses, student, teacher, targets, coefficients, weights)
    row_pass = RowPass(
        losses=tuple(losses),
        teacher=None if teacher is None else teacher.detach(),
        targets=targets,
        weights=weights,
        autocast=autocast_dtype(student.rows.device.type),
        tile_bytes=tile_bytes,
    )
    return sums_of(row_pass, [student], coefficients)


def _check(
    losses: Sequence[RowLoss],
    student: Head,
    teacher: TeacherSignal | None,
    targets: Tensor | None,
    coefficients: Sequence[float | Tensor] | None,
    weights: Tensor | None,
) -> None:
    """Raises ValueError for what cannot be computed."""
    if not losses:
        raise ValueError("linear_losses was given no loss.")
    for loss in losses:
        if loss.needs_teacher and teacher is None:
            raise ValueError(f"{loss} compares with a teacher, and no teacher head was given.")
        if loss.needs_targets and targets is None:
            raise ValueError(f"{loss} reads targets, and none were given.")
    count, vocabulary = len(student.rows), student.vocabulary
    for head in () if teacher is None else teacher.heads:
        if (len(head.rows), head.vocabulary) != (count, vocabulary):
            raise ValueError(
                f"Teacher logits would be {len(head.rows)} x {head.vocabulary} (rows x "
                f"vocabulary), the student's {count} x {vocabulary}: they are compared entry by "
                "entry."
            )
    if isinstance(teacher, TopK) and not (
        teacher.ids.shape == teacher.log_probabilities.shape and len(teacher.ids) == count
    ):
        raise ValueError(
            f"Likeliest tokens of shape {tuple(teacher.ids.shape)} and their log-probabilities of "
            f"shape {tuple(teacher.log_probabilities.shape)} for {count} rows."
        )
    for name, tensor in (("Targets", targets), ("Weights", weights)):
        if tensor is not None and tensor.shape != (count,):
            raise ValueError(f"{name} of shape {tuple(tensor.shape)} for {count} rows.")
    if coefficients is not None and len(coefficients) != len(losses):
        raise ValueError(f"{len(coefficients)} coefficients for {len(losses)} losses.")
