"""How the rows of a pass are ordered and cut: into tiles that fit memory, blocks that fit a cache.

Shapes: N rows, R rows of a tile, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lit_distill.batch import IGNORED
from lit_distill.losses.fused.head import Head

TILE_BYTES = 96 * 2**20
"""Memory of all tiles together: within 5 % of the fastest at V = 30,522 and V = 119,547, width 256,
on a CPU with 32 MiB of cache; half of it costs 7 % at the larger vocabulary, a sixth 65 %."""

_BLOCK_BYTES = 2**20
"""A CPU works through a tile in blocks of rows whose temporaries stay in the core's cache."""


def buffers(heads: Sequence[Head], tile_bytes: int) -> list[Tensor]:
    """One tile (R, V) per head: rows in equal shares, as many as fit."""
    count, vocabulary = len(heads[0].rows), len(heads[0].weight)
    bytes_per_row = vocabulary * sum(head.weight.element_size() for head in heads)
    most = max(tile_bytes // bytes_per_row, 1)
    share = max(math.ceil(count / max(math.ceil(count / most), 1)), 1)
    return [head.weight.new_empty(share, vocabulary) for head in heads]


def blocks(tile: Tensor) -> Iterator[slice]:
    """Blocks of rows that stay in a CPU's cache; elsewhere the whole tile."""
    rows, vocabulary = tile.shape
    step = rows
    if tile.device.type == "cpu":
        step = max(_BLOCK_BYTES // (vocabulary * tile.element_size()), 1)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


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


def select(tensor: Tensor | None, order: Tensor | None, dim: int = 0) -> Tensor | None:
    """The entries `order` (N,) of a dimension, or all as they are."""
    return tensor if tensor is None or order is None else tensor.index_select(dim, order)


def restore(tensor: Tensor, order: Tensor | None, dim: int = 0) -> Tensor:
    """The inverse of `select`: every entry where it was before."""
    return tensor if order is None else torch.empty_like(tensor).index_copy_(dim, order, tensor)
