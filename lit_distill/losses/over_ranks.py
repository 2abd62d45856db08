"""Rows of all ranks in one tensor, for losses over pairs of samples of the whole batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def gathered(rows: Tensor) -> tuple[Tensor, int]:
    """The rows of all ranks, in the order of ranks, with gradients for all of them.

    Each rank sums the loss of its own rows, `all_rows[first : first + len(rows)]`, against all:
    added over ranks these sums are the loss of the whole batch, and so are their gradients.
    Ranks may have different numbers of rows, 0 included. One rank, or a process without
    torch.distributed, has its own rows alone.

    Every rank must call it equally often, and its loss must depend on what it got: the backward
    pass meets the other ranks again. So it belongs into training steps; in validation ranks may
    have different numbers of batches (`if self.training` in a method).

    Args:
        rows: (N, ...) with N of this rank and all other sizes those of every rank; any dtype.

    Returns:
        All rows (M, ...), and the place `first` of this rank's first one. Costs the memory of the
        largest rank's rows times the number of ranks, and one wait for their numbers.
    """
    if not distributed.is_available() or not distributed.is_initialized():
        return rows, 0
    counts = _from_every_rank(torch.tensor([len(rows)], device=rows.device))
    sizes: list[int] = torch.cat(counts).tolist()
    every: Tensor = _Gather.apply(rows, sizes)  # type: ignore[no-untyped-call]
    return every, sum(sizes[: distributed.get_rank()])


def _from_every_rank(own: Tensor) -> list[Tensor]:
    """Tensors of one shape."""
    every = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(every, own)
    return every


class _Gather(torch.autograd.Function):
    """All ranks' rows; backward adds up what all ranks say of this rank's."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])  # shapes must be equal
        padded[: len(rows)] = rows
        parts = zip(_from_every_rank(padded), sizes, strict=True)
        return torch.cat([part[:size] for part, size in parts])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        rank, total = distributed.get_rank(), gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        first = sum(ctx.sizes[:rank])
        return total[first : first + ctx.sizes[rank]], None
