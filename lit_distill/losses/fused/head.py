"""The last layer of a language model: what makes logits of hidden rows.

Shapes: N rows, R rows of a tile, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from lit_distill.losses.rows.row_loss import BlockLogits, BlockSignal

T = TypeVar("T")

_COLUMNS = 1024
"""On a CPU, rows @ weight.T is a quarter faster in column slices of this width than in one."""


class HeadParts(NamedTuple, Generic[T]):
    """One thing for each tensor of a head: the tensor, its gradient, or whether it wants one.

    The only form in which the engine hands them about; autograd alone reads them in a row.
    """

    rows: T
    weight: T
    bias: T


def flatten(heads: Iterable[HeadParts[T]]) -> tuple[T, ...]:
    """The parts of all heads in one row, as an autograd function takes and gives them."""
    return tuple(chain.from_iterable(heads))


def by_head(flat: Iterable[T]) -> list[HeadParts[T]]:
    """The inverse of `flatten`."""
    each = iter(flat)
    return [HeadParts(*three) for three in zip(each, each, each, strict=True)]


@dataclass(frozen=True)
class Head:
    """What makes logits: z = rows @ weight.T + bias, or c tanh(z / c) where there is a cap c.

    Attributes:
        rows: (N, D) hidden rows, after any head transform.
        weight: (V, D), whole (not sharded); may be tied to the embedding.
        bias: (V,) or None.
        cap: the limit of the logits (Gemma's soft-capping), or None.
        size: how many of the V entries count, from the first; None for all. Tables are padded to
            round sizes, and models of one vocabulary to different ones.
        bucket: an entry, and (N,) logits of what else it stands for, in a teacher's head: the mass
            of tokens that a trimmed vocabulary lacks; None: it stands for itself.
    """

    rows: Tensor
    weight: Tensor
    bias: Tensor | None = None
    cap: float | None = None
    size: int | None = None
    bucket: tuple[int, Tensor] | None = None

    @property
    def heads(self) -> tuple[Head, ...]:
        """As a signal: the heads whose logits it is made of."""
        return (self,)

    @property
    def parts(self) -> HeadParts[Tensor | None]:
        """The tensors that may want a gradient."""
        return HeadParts(self.rows, self.weight, self.bias)

    @property
    def vocabulary(self) -> int:
        """How many entries count."""
        return len(self.weight) if self.size is None else self.size

    def block(self, logits: Sequence[Tensor], rows: slice) -> BlockSignal:
        """As a signal: what the model says about `rows`, given their logits (R, V)."""
        return BlockLogits(logits[0])

    def detach(self) -> Head:
        """The same head, outside any graph."""
        bias = None if self.bias is None else self.bias.detach()
        return replace(self, rows=self.rows.detach(), weight=self.weight.detach(), bias=bias)

    def select(self, order: Tensor | None) -> Head:
        """The same head on the rows `order` (N,), or on all as they are."""
        if order is None:
            return self
        bucket = self.bucket
        if bucket is not None:
            bucket = bucket[0], bucket[1].index_select(0, order)
        return replace(self, rows=self.rows.index_select(0, order), bucket=bucket)

    def without_padding(self) -> Head:
        """The same head without the entries that do not count: views."""
        if self.size is None:
            return self
        bias = None if self.bias is None else self.bias[: self.size]
        return replace(self, weight=self.weight[: self.size], bias=bias, size=None)

    def cast_for_autocast(self, dtype: torch.dtype | None) -> Head:
        """The head without padding in autocast's dtype, if any; float64 stays, as in autocast."""
        if self.size is not None:
            return self.without_padding().cast_for_autocast(dtype)
        if dtype is None or self.weight.dtype == torch.float64:
            return self
        bias = None if self.bias is None else self.bias.to(dtype)
        return replace(self, rows=self.rows.to(dtype), weight=self.weight.to(dtype), bias=bias)

    def logits(self, part: slice, tile: Tensor) -> Tensor:
        """Logits of the rows in `part`, written into the first rows of `tile` (R, V)."""
        logits = self._linear(self.rows[part], tile)
        if self.cap is not None:
            logits.div_(self.cap).tanh_().mul_(self.cap)
        if self.bucket is not None:
            entry, others = self.bucket
            own = logits[:, entry]
            own.copy_(torch.logaddexp(own, others[part].to(own.dtype)))
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
