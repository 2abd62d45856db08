"""One pass over rows of hidden states: logits tile by tile, losses, and gradients in their place.

Shapes: N rows, R rows of a tile, D student width, D' teacher width, V vocabulary, K losses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lit_distill.batch import IGNORED
from lit_distill.losses.row_loss import Block, BlockLogits, RowLoss, Scale

_BLOCK_BYTES = 2**20
"""A CPU works through a tile in blocks of rows whose temporaries stay in the core's cache."""

_COLUMNS = 1024
"""On a CPU, rows @ weight.T is a quarter faster in column slices of this width than in one."""

Wanted = tuple[bool, bool, bool]
"""Which of rows, weight and bias get a gradient."""

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Of rows (N, D), weight (V, D) and bias (V,)."""


@dataclass(frozen=True)
class Head:
    """What makes logits: z = rows @ weight.T + bias, or c tanh(z / c) where there is a cap c.

    Attributes:
        rows: (N, D) hidden rows, after any head transform.
        weight: (V, D), whole (not sharded); may be tied to the embedding.
        bias: (V,) or None.
        cap: the limit of the logits (Gemma's soft-capping), or None.
    """

    rows: Tensor
    weight: Tensor
    bias: Tensor | None = None
    cap: float | None = None

    def detach(self) -> Head:
        """The same values, outside any graph."""
        bias = None if self.bias is None else self.bias.detach()
        return replace(self, rows=self.rows.detach(), weight=self.weight.detach(), bias=bias)

    def take(self, order: Tensor | None) -> Head:
        """The same head on the rows `order` (N,), or on all as they are."""
        if order is None:
            return self
        return replace(self, rows=self.rows.index_select(0, order))

    def lowered(self, dtype: torch.dtype | None) -> Head:
        """In autocast's dtype, if any; as in autocast, float64 stays what it is."""
        if dtype is None or self.weight.dtype == torch.float64:
            return self
        bias = None if self.bias is None else self.bias.to(dtype)
        return replace(self, rows=self.rows.to(dtype), weight=self.weight.to(dtype), bias=bias)

    def project(self, part: slice, tile: Tensor) -> Tensor:
        """Logits of the rows in `part`, written into the first rows of `tile` (R, V)."""
        logits = self._linear(self.rows[part], tile)
        if self.cap is not None:
            logits.div_(self.cap).tanh_().mul_(self.cap)
        return logits

    def _linear(self, rows: Tensor, tile: Tensor) -> Tensor:
        logits = tile[: len(rows)]
        columns = _COLUMNS if tile.device.type == "cpu" else max(len(self.weight), 1)
        pieces = zip(
            torch.split(self.weight, columns), torch.split(logits, columns, dim=1), strict=True
        )
        if self.bias is None:
            for weight, out in pieces:
                torch.mm(rows, weight.t(), out=out)
            return logits
        # A vocabulary entry switched off by -inf stays finite: differences of logits exist.
        bias = self.bias.clamp(min=torch.finfo(self.bias.dtype).min / 64)
        for (weight, out), addend in zip(pieces, torch.split(bias, columns), strict=True):
            torch.addmm(addend, rows, weight.t(), out=out)
        return logits


@dataclass(frozen=True)
class RowPass:
    """Everything in a call of `linear_losses` that gets no gradient.

    Attributes:
        losses: K losses.
        teacher: detached, or None.
        targets: (N,), or None.
        autocast: the dtype of products under autocast, or None.
        tile_bytes: memory for the tiles of both models.
    """

    losses: tuple[RowLoss, ...]
    teacher: Head | None
    targets: Tensor | None
    autocast: torch.dtype | None
    tile_bytes: int

    def precision(self, student: Head) -> torch.dtype:
        """The dtype of softmaxes, sums and accumulated gradients: at least float32."""
        dtype = torch.promote_types(student.weight.dtype, torch.float32)
        if self.teacher is None:
            return dtype
        return torch.promote_types(dtype, self.teacher.weight.dtype)

    def run(self, student: Head, scales: Tensor | None, wanted: Wanted) -> tuple[Tensor, Gradients]:
        """Makes the pass.

        Args:
            student: the head as the caller gave it.
            scales: (K,) factors of the losses in the gradients; None for values only.
            wanted: which gradients to form.

        Returns:
            The sums (K,), and the gradients of their scaled sum.
        """
        count = len(student.rows)
        order, labelled = _labelled_first(self.targets, count)
        heads = [student] if self.teacher is None else [student, self.teacher]
        heads = [head.lowered(self.autocast).take(order) for head in heads]
        targets = self.targets
        if targets is not None and order is not None:
            targets = targets.index_select(0, order)
        values = student.rows.new_zeros(len(self.losses), count, dtype=self.precision(student))
        gradients = _HeadGradients(heads[0], wanted, values.dtype)
        tiles, factors = self._tiles(heads), _scalars(scales)
        for start in range(0, count, len(tiles[0])):
            part = slice(start, min(start + len(tiles[0]), count))
            logits = [head.project(part, tile) for head, tile in zip(heads, tiles, strict=True)]
            self._on_tile(
                logits,
                None if targets is None else targets[part],
                labelled - start,
                factors,
                values[:, part],
                heads[0].cap,
            )
            if scales is not None:
                gradients.add(part, logits[0])
        return values.sum(1), gradients.like(student, order)

    def _tiles(self, heads: list[Head]) -> list[Tensor]:
        """One buffer (R, V) per head: rows in equal shares, as many as fit."""
        count, vocabulary = len(heads[0].rows), len(heads[0].weight)
        bytes_per_row = vocabulary * sum(head.weight.element_size() for head in heads)
        most = max(self.tile_bytes // bytes_per_row, 1)
        share = max(math.ceil(count / max(math.ceil(count / most), 1)), 1)
        return [head.weight.new_empty(share, vocabulary) for head in heads]

    def _on_tile(
        self,
        logits: list[Tensor],
        targets: Tensor | None,
        labelled: int,
        scales: Sequence[Scale] | None,
        values: Tensor,
        cap: float | None,
    ) -> None:
        """Fills in the values (K, R); the scaled gradient takes the place of student logits."""
        for at in _blocks(logits[0]):
            models = [BlockLogits(model[at].to(values.dtype)) for model in logits]
            block = Block(
                models[0],
                models[1] if len(models) > 1 else None,
                None if targets is None else targets[at],
            )
            total: Tensor | None = None
            for k, loss in enumerate(self.losses):
                if loss.needs_targets and at.start >= labelled:
                    continue  # value and gradient are zero without a target
                values[k, at], part = loss.on_block(block, None if scales is None else scales[k])
                if part is not None:
                    total = part if total is None else total.add_(part)
            if scales is None:
                continue
            if total is not None and cap is not None:  # the derivative of c tanh(z / c)
                total.mul_(1 - (models[0].values / cap).square())
            logits[0][at] = 0.0 if total is None else total


class _HeadGradients:
    """Gradients of a head's tensors, summed over tiles in at least float32."""

    def __init__(self, head: Head, wanted: Wanted, dtype: torch.dtype) -> None:
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

    def like(self, head: Head, order: Tensor | None) -> Gradients:
        """The gradients in the dtypes of `head`, its rows in their own order again."""
        rows = self.rows
        if rows is not None and order is not None:
            rows = torch.empty_like(rows).index_copy_(0, order, rows)
        bias = None if head.bias is None else _fit(self.bias, head.bias, self.wanted[2])
        return (
            _fit(rows, head.rows, self.wanted[0]),
            _fit(self.weight, head.weight, self.wanted[1]),
            bias,
        )


def _fit(gradient: Tensor | None, tensor: Tensor, wanted: bool) -> Tensor | None:
    """A wanted gradient in its tensor's dtype; zeros where there were no rows."""
    if not wanted:
        return None
    return torch.zeros_like(tensor) if gradient is None else gradient.to(tensor.dtype)


def _labelled_first(targets: Tensor | None, count: int) -> tuple[Tensor | None, int]:
    """An order (N,) of rows that puts those with a target first, and how many these are.

    The rest then needs no softmax for the losses of targets. Only on a CPU: elsewhere the number
    would be a host synchronisation.
    """
    if targets is None or targets.device.type != "cpu":
        return None, count
    ignored = targets == IGNORED
    labelled = count - int(ignored.sum())
    return (None if labelled == count else torch.argsort(ignored, stable=True)), labelled


def _blocks(tile: Tensor) -> Iterator[slice]:
    """Blocks of rows that stay in a CPU's cache; elsewhere the whole tile."""
    rows, vocabulary = tile.shape
    step = rows
    if tile.device.type == "cpu":
        step = max(_BLOCK_BYTES // (vocabulary * tile.element_size()), 1)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _scalars(scales: Tensor | None) -> Sequence[Scale] | None:
    """One factor per loss: numbers on a CPU, elsewhere tensors (no host synchronisation)."""
    if scales is None:
        return None
    return scales.tolist() if scales.device.type == "cpu" else scales.unbind()
