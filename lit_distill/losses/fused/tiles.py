"""One pass over rows of hidden states: logits tile by tile, losses, and gradients in their place.

Shapes: N rows, R rows of a tile, D student width, D' teacher width, V vocabulary, K losses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_distill.batch import IGNORED
from lit_distill.losses.fused.head import Head
from lit_distill.losses.fused.signals import TeacherSignal
from lit_distill.losses.rows.row_loss import Block, BlockLogits, RowLoss, Scale

_BLOCK_BYTES = 2**20
"""A CPU works through a tile in blocks of rows whose temporaries stay in the core's cache."""


@dataclass(frozen=True)
class RowPass:
    """Everything in a call of `linear_losses` that gets no gradient.

    Attributes:
        losses: K losses.
        teacher: detached, or None.
        targets: (N,), or None.
        weights: (N,) factors of the rows, or None.
        autocast: the dtype of products under autocast, or None.
        tile_bytes: memory for the tiles of both models.
    """

    losses: tuple[RowLoss, ...]
    teacher: TeacherSignal | None
    targets: Tensor | None
    weights: Tensor | None
    autocast: torch.dtype | None
    tile_bytes: int

    def precision(self, heads: Sequence[Head]) -> torch.dtype:
        """See `Pass`."""
        return widest((*heads, *(() if self.teacher is None else self.teacher.heads)))

    def run(
        self, heads: Sequence[Head], scales: Tensor | None, wanted: Sequence[bool]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """See `Pass`; there is one head, the student's."""
        (student,) = heads
        given = self._in_order(student)
        head, count = given.heads[0], len(student.rows)
        values = student.rows.new_zeros(len(self.losses), count, dtype=self.precision(heads))
        gradients = HeadGradients(head, wanted, values.dtype)
        tiles, factors = buffers(given.heads, self.tile_bytes), scalars(scales)
        for start in range(0, count, len(tiles[0])):
            part = slice(start, min(start + len(tiles[0]), count))
            pairs = zip(given.heads, tiles, strict=True)
            logits = [each.logits(part, tile) for each, tile in pairs]
            for at in blocks(logits[0]):
                rows = slice(start + at.start, start + at.stop)
                block = [z[at].to(values.dtype) for z in logits]
                total = self._on_block(given, block, rows, factors, values[:, rows])
                if scales is not None:  # the gradient takes the place of the student's logits
                    logits[0][at] = 0.0 if total is None else total
            if scales is not None:
                gradients.add(part, logits[0])
        return values.sum(1), gradients.like(student, given.order)

    def _in_order(self, student: Head) -> _Given:
        order, labelled = labelled_first(self.targets, len(student.rows))
        head = student.cast_for_autocast(self.autocast).select(order)
        signal = (
            None
            if self.teacher is None
            else self.teacher.cast_for_autocast(self.autocast).select(order)
        )
        return _Given(
            heads=[head] if signal is None else [head, *signal.heads],
            signal=signal,
            targets=select(self.targets, order),
            weights=select(self.weights, order),
            order=order,
            labelled=labelled,
        )

    def _on_block(
        self,
        given: _Given,
        logits: list[Tensor],
        rows: slice,
        scales: Sequence[Scale] | None,
        values: Tensor,
    ) -> Tensor | None:
        """Fills in the values (K, R); gives the scaled gradient, or None where there is none."""
        student, signal = BlockLogits(logits[0]), None
        if given.signal is not None:
            signal = given.signal.block(logits[1:], rows)
        block = Block(student, signal, None if given.targets is None else given.targets[rows])
        total: Tensor | None = None
        for k, loss in enumerate(self.losses):
            if loss.needs_targets and rows.start >= given.labelled:
                continue  # value and gradient are zero without a target
            values[k], part = loss.on_block(block, None if scales is None else scales[k])
            if part is not None:
                total = part if total is None else total.add_(part)
        weights = None if given.weights is None else given.weights[rows].to(values.dtype)
        if weights is not None:
            values.mul_(weights)
        if total is None:
            return None
        if weights is not None:
            total.mul_(weights.unsqueeze(1))
        cap = given.heads[0].cap
        # The derivative of c tanh(z / c)
        return total if cap is None else total.mul_(1 - (student.values / cap).square())


@dataclass(frozen=True)
class _Given:
    """The arguments of a pass in autocast's dtype, rows with a target first."""

    heads: list[Head]
    signal: TeacherSignal | None
    targets: Tensor | None
    weights: Tensor | None
    order: Tensor | None
    labelled: int


class HeadGradients:
    """Gradients of a head's tensors, summed over tiles in at least float32."""

    def __init__(self, head: Head, wanted: Sequence[bool], dtype: torch.dtype) -> None:
        self.head, self.wanted, self.dtype = head, wanted, dtype
        self.rows = torch.empty_like(head.rows, dtype=dtype) if wanted[0] else None
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None

    def add(self, part: slice, logits: Tensor) -> None:
        """Adds what the gradient (R, V) of the logits of the rows in `part` contributes."""
        if self.rows is not None:
            self.rows[part] = logits @ self.head.weight
        if self.wanted[1]:
            rows = self.head.rows[part]
            if self.weight is None:
                self.weight = (logits.t() @ rows).to(self.dtype)
            elif self.weight.dtype == rows.dtype:
                self.weight.addmm_(logits.t(), rows)
            else:
                self.weight.add_(logits.t() @ rows)
        if self.wanted[2]:
            bias = logits.sum(0, dtype=self.dtype)
            self.bias = bias if self.bias is None else self.bias.add_(bias)

    def like(self, head: Head, order: Tensor | None) -> list[Tensor | None]:
        """Those of rows, weight and bias in the dtypes of `head`, rows in their own order again."""
        rows = self.rows
        if rows is not None and order is not None:
            rows = torch.empty_like(rows).index_copy_(0, order, rows)
        bias = None if head.bias is None else _fit(self.bias, head.bias, self.wanted[2])
        return [
            _fit(rows, head.rows, self.wanted[0]),
            _fit(self.weight, head.weight, self.wanted[1]),
            bias,
        ]


def _fit(gradient: Tensor | None, tensor: Tensor, wanted: bool) -> Tensor | None:
    """A wanted gradient in its tensor's dtype; zeros where there were no rows or columns."""
    if not wanted:
        return None
    if gradient is None:
        return torch.zeros_like(tensor)
    if len(gradient) == len(tensor):
        return gradient.to(tensor.dtype)
    whole = torch.zeros_like(tensor)
    whole[: len(gradient)] = gradient
    return whole


def select(tensor: Tensor | None, order: Tensor | None) -> Tensor | None:
    """The rows `order` (N,), or all as they are."""
    return tensor if tensor is None or order is None else tensor.index_select(0, order)


def widest(heads: Sequence[Head]) -> torch.dtype:
    """The dtype that softmaxes and sums of these heads need: at least float32."""
    dtype = torch.float32
    for head in heads:
        dtype = torch.promote_types(dtype, head.weight.dtype)
    return dtype


def buffers(heads: Sequence[Head], tile_bytes: int) -> list[Tensor]:
    """One tile (R, V) per head: rows in equal shares, as many as fit."""
    count, vocabulary = len(heads[0].rows), len(heads[0].weight)
    bytes_per_row = vocabulary * sum(head.weight.element_size() for head in heads)
    most = max(tile_bytes // bytes_per_row, 1)
    share = max(math.ceil(count / max(math.ceil(count / most), 1)), 1)
    return [head.weight.new_empty(share, vocabulary) for head in heads]


def labelled_first(targets: Tensor | None, count: int) -> tuple[Tensor | None, int]:
    """An order (N,) of rows that puts those with a target first, and how many these are.

    The rest then needs no softmax for the losses of targets. Only on a CPU: elsewhere the number
    would be a host synchronisation.
    """
    if targets is None or targets.device.type != "cpu":
        return None, count
    ignored = targets == IGNORED
    labelled = count - int(ignored.sum())
    return (None if labelled == count else torch.argsort(ignored, stable=True)), labelled


def blocks(tile: Tensor) -> Iterator[slice]:
    """Blocks of rows that stay in a CPU's cache; elsewhere the whole tile."""
    rows, vocabulary = tile.shape
    step = rows
    if tile.device.type == "cpu":
        step = max(_BLOCK_BYTES // (vocabulary * tile.element_size()), 1)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def scalars(scales: Tensor | None) -> Sequence[Scale] | None:
    """One factor per loss: numbers on a CPU, elsewhere tensors (no host synchronisation)."""
    if scales is None:
        return None
    return scales.tolist() if scales.device.type == "cpu" else scales.unbind()
