"""Losses of several models on each other, in one pass over all their logits.

A tile holds the logits of the same rows by every model, and cross-entropies and divergences read
the same softmaxes there. What a model compares with is constant for it: no gradient flows into the
models that it learns from.

Shapes: N rows, D a model's width, V vocabulary, K models.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lit_distill.losses.fused.eager_gradients import autocast_dtype, differentiable
from lit_distill.losses.fused.head import Head
from lit_distill.losses.fused.row_pass import PeerLosses, RowPass
from lit_distill.losses.fused.tiles import TILE_BYTES


def mutual_losses(
    models: Sequence[PeerLosses],
    heads: Sequence[Head],
    targets: Tensor | None = None,
    coefficients: Sequence[float | Tensor] | None = None,
    tile_bytes: int = TILE_BYTES,
) -> tuple[Tensor, ...]:
    """Sums of every model's losses over the same rows.

    Args:
        models: K of them, what each learns.
        heads: their rows (N, D), weight (V, D) and bias (V,), in the same order; what requires a
            gradient gets one, from its own model's losses only.
        targets: (N,) token ids, `IGNORED` where a row has none; None if no loss needs them.
        coefficients: one per sum; see `linear_losses`.
        tile_bytes: memory for the tiles of logits of all models.

    Returns:
        Scalars in at least float32: the losses of the first model in order, then of the next.

    Raises:
        ValueError: shapes that do not fit, or a loss that lacks what it needs.
        RuntimeError: see `linear_losses`.
    """
    if not heads:
        raise ValueError("mutual_losses was given no model.")
    autocast = autocast_dtype(heads[0].rows.device.type)
    row_pass = RowPass(tuple(models), None, targets, autocast, tile_bytes)
    return differentiable(row_pass, heads, coefficients)
