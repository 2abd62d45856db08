"""The one pass over rows of hidden states in which K models learn.

For each tile of rows the pass makes the logits of all models, and of a teacher's heads, in reused
buffers; reads every loss there, block by block; lets the gradient of each model's losses take the
place of its logits; and turns that into gradients of hidden rows and head weights (two products).
What a model compares with, a teacher or the other models, is constant: it gets no gradient.

Shapes: N rows, R rows of a block, V vocabulary, K models, S losses of all models together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_distill.losses.fused.head import Head, HeadParts
from lit_distill.losses.fused.head_gradients import HeadGradients
from lit_distill.losses.fused.signals import BlockMixture, BlockSum, TeacherSignal
from lit_distill.losses.fused.tiles import blocks, buffers, labelled_first, restore, select
from lit_distill.losses.rows.row_loss import Block, BlockLogits, BlockSignal, RowLoss, Scale


@dataclass(frozen=True)
class PeerLosses:
    """What one of the models of a pass learns.

    Attributes:
        losses: of its rows; without a teacher, divergences compare with the other models. None: it
            is only compared with.
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


@dataclass(frozen=True)
class RowPass:
    """Everything in a call of the engine that gets no gradient.

    Attributes:
        models: K of them, what each learns.
        teacher: what they compare with, detached; None: each other.
        targets: (N,), or None.
        autocast: the dtype of products under autocast, or None.
        tile_bytes: memory for the tiles of all models.
        weights: (N,) factors of the rows, or None.
        per_row: whether values are handed out row by row, not as sums over the rows.
    """

    models: tuple[PeerLosses, ...]
    teacher: TeacherSignal | None
    targets: Tensor | None
    autocast: torch.dtype | None
    tile_bytes: int
    weights: Tensor | None = None
    per_row: bool = False

    @property
    def losses(self) -> list[RowLoss]:
        """All S losses: those of the first model in order, then of the next."""
        return [loss for model in self.models for loss in model.losses]

    def precision(self, heads: Sequence[Head]) -> torch.dtype:
        """The dtype of softmaxes, values and summed gradients: at least float32."""
        dtype = torch.float32
        for head in (*heads, *(() if self.teacher is None else self.teacher.heads)):
            dtype = torch.promote_types(dtype, head.weight.dtype)
        return dtype

    def run(
        self,
        heads: Sequence[Head],
        scales: Tensor | None = None,
        wanted: Sequence[HeadParts[bool]] = (),
    ) -> tuple[Tensor, list[HeadParts[Tensor | None]]]:
        """Makes the pass.

        Args:
            heads: of the K models, as the caller gave them.
            scales: factors of the values in the gradients, (S,) of sums or (S, N) of rows; None
                for values only.
            wanted: which tensors of each head get a gradient.

        Returns:
            The values, (S,) summed or (S, N) per row, and the gradients of the total of the scaled
            values, by head.
        """
        given = self._in_order(heads, scales)
        count, dtype, models = len(heads[0].rows), self.precision(heads), len(self.models)
        values = heads[0].rows.new_zeros(len(self.losses), count, dtype=dtype)
        own = zip(given.heads, wanted, strict=False)  # a teacher's heads come last
        gradients = [HeadGradients(head, parts, dtype) for head, parts in own]
        tiles = buffers(given.heads, self.tile_bytes)
        for start in range(0, count, len(tiles[0])):
            part = slice(start, min(start + len(tiles[0]), count))
            pairs = zip(given.heads, tiles, strict=True)
            logits = [head.logits(part, tile) for head, tile in pairs]
            for at in blocks(logits[0]):
                rows = slice(start + at.start, start + at.stop)
                block = [z[at].to(dtype) for z in logits]
                totals = self._on_block(given, block, rows, values[:, rows])
                if gradients:  # not before every model has read what the others say
                    for z, total in zip(logits[:models], totals, strict=True):
                        z[at] = 0.0 if total is None else total
            for each, z in zip(gradients, logits, strict=False):
                each.add(part, z)
        found = restore(values, given.order, 1) if self.per_row else values.sum(1)
        return found, [
            each.like(head, given.order) for each, head in zip(gradients, heads, strict=False)
        ]

    def _in_order(self, heads: Sequence[Head], scales: Tensor | None) -> _Given:
        order, labelled = labelled_first(self.targets, len(heads[0].rows))
        own = [head.cast_for_autocast(self.autocast).select(order) for head in heads]
        teacher = self.teacher
        if teacher is not None:
            teacher = teacher.cast_for_autocast(self.autocast).select(order)
        if scales is not None and scales.dim() == 2:
            scales = select(scales, order, 1)
        return _Given(
            heads=[*own, *(() if teacher is None else teacher.heads)],
            teacher=teacher,
            targets=select(self.targets, order),
            weights=select(self.weights, order),
            scales=None if scales is None else _each(scales),
            order=order,
            labelled=labelled,
        )

    def _on_block(
        self, given: _Given, logits: list[Tensor], rows: slice, values: Tensor
    ) -> list[Tensor | None]:
        """Fills in the values (S, R); gives each model's scaled gradient, or None without one."""
        weights = None if given.weights is None else given.weights[rows].to(values.dtype)
        targets = None if given.targets is None else given.targets[rows]
        models = [BlockLogits(z) for z in logits[: len(self.models)]]
        teacher = None
        if given.teacher is not None:
            teacher = given.teacher.block(logits[len(models) :], rows)
        totals: list[Tensor | None] = []
        number = 0
        for k, model in enumerate(self.models):
            others, total = [*models[:k], *models[k + 1 :]], None
            target = model.target(others) if others and teacher is None else teacher
            block = Block(models[k], target, targets)
            for loss in model.losses:
                # value and gradient are zero without a target
                if not loss.needs_targets or rows.start < given.labelled:
                    scale = None if given.scales is None else given.scales[number]
                    values[number], part = _scaled(loss, block, scale, rows)
                    if part is not None:
                        total = part if total is None else total.add_(part)
                number += 1
            if total is not None and weights is not None:
                total.mul_(weights.unsqueeze(1))
            cap = given.heads[k].cap
            if total is not None and cap is not None:  # the derivative of c tanh(z / c)
                total.mul_(1 - (models[k].values / cap).square())
            totals.append(total)
        if weights is not None:
            values.mul_(weights)
        return totals


@dataclass(frozen=True)
class _Given:
    """The arguments of a pass in autocast's dtype, rows with a target first.

    Attributes:
        heads: of the models, then of the teacher.
        scales: a factor of each of the S values, or of its rows (N,).
        order: (N,) of the rows; None: as they were given.
        labelled: how many rows have a target.
    """

    heads: list[Head]
    teacher: TeacherSignal | None
    targets: Tensor | None
    weights: Tensor | None
    scales: Sequence[Scale] | None
    order: Tensor | None
    labelled: int


def _each(scales: Tensor) -> Sequence[Scale]:
    """One factor per loss: numbers on a CPU, elsewhere tensors (no host synchronisation)."""
    if scales.dim() == 1 and scales.device.type == "cpu":
        numbers: list[float] = scales.tolist()
        return numbers
    return scales.unbind()


def _scaled(
    loss: RowLoss, block: Block, scale: Scale | None, rows: slice
) -> tuple[Tensor, Tensor | None]:
    """Values (R,), and their gradient times one factor or, if `scale` is (N,), one of each row."""
    if not isinstance(scale, Tensor) or scale.dim() == 0:
        return loss.on_block(block, scale)
    values, gradient = loss.on_block(block, 1.0)
    return values, None if gradient is None else gradient.mul_(scale[rows].unsqueeze(1))
