"""Losses of logits that are never held: hidden rows and head weights in, losses and gradients out.

One model learns, from a teacher, from targets, or from both. See `lit_distill.losses.fused` for how
the losses are computed.

Shapes: N rows, D student width, D' teacher width, V vocabulary, K losses.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lit_distill.losses.fused.eager_gradients import autocast_dtype, differentiable
from lit_distill.losses.fused.head import Head as Head
from lit_distill.losses.fused.row_pass import PeerLosses, RowPass
from lit_distill.losses.fused.signals import TeacherSignal
from lit_distill.losses.fused.tiles import TILE_BYTES
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
    alone = _alone(losses, student, teacher, targets, tile_bytes, weights=weights)
    return differentiable(alone, [student], coefficients)


def row_losses(
    losses: Sequence[RowLoss],
    student: Head,
    teacher: TeacherSignal | None = None,
    targets: Tensor | None = None,
    coefficients: Sequence[float | Tensor] | None = None,
    tile_bytes: int = TILE_BYTES,
) -> tuple[Tensor, ...]:
    """Values of several losses row by row, to be weighted, grouped and compared by the caller.

    What a row's value is multiplied with may depend on any value: `backward` gets one factor for
    each, and the logits are made once more there. Where every row counts for itself with a factor
    that is known beforehand, `linear_losses` has the sum in one pass.

    Args:
        losses: see `linear_losses`.
        student: see `linear_losses`.
        teacher: see `linear_losses`.
        targets: see `linear_losses`.
        coefficients: what the values of loss k are going to be multiplied with, a number or (N,),
            up to one factor common to all; None: not known yet. See `linear_losses`.
        tile_bytes: see `linear_losses`.

    Returns:
        K tensors (N,) in at least float32, differentiable once; zero, with zero gradient, at rows
        that a loss does not count because their target is `IGNORED`.

    Raises:
        ValueError: see `linear_losses`.
        RuntimeError: see `linear_losses`.
    """
    alone = _alone(losses, student, teacher, targets, tile_bytes, per_row=True)
    return differentiable(alone, [student], coefficients)


def _alone(
    losses: Sequence[RowLoss],
    student: Head,
    teacher: TeacherSignal | None,
    targets: Tensor | None,
    tile_bytes: int,
    weights: Tensor | None = None,
    per_row: bool = False,
) -> RowPass:
    """The pass of a model that learns from no other that learns."""
    return RowPass(
        models=(PeerLosses(tuple(losses)),),
        teacher=None if teacher is None else teacher.detach(),
        targets=targets,
        weights=weights,
        autocast=autocast_dtype(student.rows.device.type),
        tile_bytes=tile_bytes,
        per_row=per_row,
    )
