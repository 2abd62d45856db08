"""Losses of several models on each other, in one pass over all their logits.

A tile holds the logits of the same rows by every model. Cross-entropies and divergences read the
same softmaxes there, and the gradient of each model takes the place of its logits. What a model
hears of the others is constant for it: no gradient flows into who is listened to.

Shapes: N rows, R rows of a block, D a model's width, V vocabulary, K models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_distill.losses.fused.eager_gradients import TILE_BYTES, autocast_dtype, sums_of
from lit_distill.losses.fused.head import Head
from lit_distill.losses.fused.signals import BlockMixture, BlockSum
from lit_distill.losses.fused.tiles import (
    HeadGradients,
    blocks,
    buffers,
    labelled_first,
    scalars,
    select,
    widest,
)
from lit_distill.losses.rows.row_loss import Block, BlockLogits, BlockSignal, RowLoss, Scale


@dataclass(frozen=True)
class PeerLosses:
    """What one of several models learns.

    Attributes:
        losses: of its rows; divergences compare with the other models. None: it only speaks.
        to_mean: compare with the mean of the others' probabilities; otherwise with each, and the
            mean of the divergences counts.
    """

    losses: tuple[RowLoss, ...] = ()
    to_mean: bool = False

    def target(self, others: Sequence[BlockLogits]) -> BlockSignal:
        """What the other models say about a block of rows."""
        if len(others) == 1:
            return others[0]
        shares = (1 / len(others),) * len(others)
        return BlockMixture(others, shares) if self.to_mean else BlockSum(others, shares)


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
    _check(models, heads, targets, coefficients)
    mutual = _MutualPass(
        tuple(models), targets, autocast_dtype(heads[0].rows.device.type), tile_bytes
    )
    return sums_of(mutual, heads, coefficients)


@dataclass(frozen=True)
class _MutualPass:
    """See `Pass`."""

    models: tuple[PeerLosses, ...]
    targets: Tensor | None
    autocast: torch.dtype | None
    tile_bytes: int

    def precision(self, heads: Sequence[Head]) -> torch.dtype:
        return widest(heads)

    def run(
        self, heads: Sequence[Head], scales: Tensor | None, wanted: Sequence[bool]
    ) -> tuple[Tensor, list[Tensor | None]]:
        count, dtype = len(heads[0].rows), self.precision(heads)
        order, labelled = labelled_first(self.targets, count)
        given = [head.cast_for_autocast(self.autocast).select(order) for head in heads]
        targets = select(self.targets, order)
        sums = sum(len(model.losses) for model in self.models)
        values = heads[0].rows.new_zeros(sums, count, dtype=dtype)
        gradients = [
            HeadGradients(head, wanted[3 * k : 3 * k + 3], dtype) for k, head in enumerate(given)
        ]
        tiles, factors = buffers(given, self.tile_bytes), scalars(scales)
        for start in range(0, count, len(tiles[0])):
            part = slice(start, min(start + len(tiles[0]), count))
            logits = [head.logits(part, tile) for head, tile in zip(given, tiles, strict=True)]
            for at in blocks(logits[0]):
                rows = slice(start + at.start, start + at.stop)
                block = _Rows(
                    [BlockLogits(z[at].to(dtype)) for z in logits],
                    None if targets is None else targets[rows],
                    rows.start < labelled,
                )
                totals = self._on_block(given, block, factors, values[:, rows])
                if scales is not None:  # not before every model has read what the others say
                    for z, total in zip(logits, totals, strict=True):
                        z[at] = 0.0 if total is None else total
            if scales is not None:
                for own, z in zip(gradients, logits, strict=True):
                    own.add(part, z)
        parts = zip(gradients, heads, strict=True)
        return values.sum(1), [each for own, head in parts for each in own.like(head, order)]

    def _on_block(
        self,
        heads: Sequence[Head],
        rows: _Rows,
        scales: Sequence[Scale] | None,
        values: Tensor,
    ) -> list[Tensor | None]:
        """Fills in the values (sums, R); gives each model's scaled gradient, None for none."""
        totals: list[Tensor | None] = []
        number = 0
        for k, model in enumerate(self.models):
            own, others = rows.logits[k], [*rows.logits[:k], *rows.logits[k + 1 :]]
            block = Block(own, model.target(others) if others else None, rows.targets)
            total: Tensor | None = None
            for loss in model.losses:
                if rows.labelled or not loss.needs_targets:
                    scale = None if scales is None else scales[number]
                    values[number], part = loss.on_block(block, scale)
                    if part is not None:
                        total = part if total is None else total.add_(part)
                number += 1
            cap = heads[k].cap
            if total is not None and cap is not None:  # the derivative of c tanh(z / c)
                total.mul_(1 - (own.values / cap).square())
            totals.append(total)
        return totals


@dataclass(frozen=True)
class _Rows:
    """One block of rows: every model's logits, the targets, and whether any row has one."""

    logits: list[BlockLogits]
    targets: Tensor | None
    labelled: bool


def _check(
    models: Sequence[PeerLosses],
    heads: Sequence[Head],
    targets: Tensor | None,
    coefficients: Sequence[float | Tensor] | None,
) -> None:
    """Raises ValueError for what cannot be computed."""
    if len(models) != len(heads) or not heads:
        raise ValueError(f"{len(models)} models and {len(heads)} heads: give as many, at least 1.")
    count, vocabulary = len(heads[0].rows), heads[0].vocabulary
    for head in heads:
        if (len(head.rows), head.vocabulary) != (count, vocabulary):
            raise ValueError(
                f"Logits would be {count} x {vocabulary} (rows x vocabulary) and "
                f"{len(head.rows)} x {head.vocabulary}: they are compared entry by entry."
            )
    losses = [loss for model in models for loss in model.losses]
    for loss in losses:
        if loss.needs_teacher and len(heads) == 1:
            raise ValueError(f"{loss} compares with other models, and there is only one.")
        if loss.needs_targets and targets is None:
            raise ValueError(f"{loss} reads targets, and none were given.")
    if targets is not None and targets.shape != (count,):
        raise ValueError(f"Targets of shape {tuple(targets.shape)} for {count} rows.")
    if coefficients is not None and len(coefficients) != len(losses):
        raise ValueError(f"{len(coefficients)} coefficients for {len(losses)} losses.")
