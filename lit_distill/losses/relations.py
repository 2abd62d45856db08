"""How positions relate to each other, compared between two models block by block.

A relation gives every query position a score of each key that it may look at, Q K' / sqrt(d), or a
distribution over these keys, the softmax of the scores. Queries and keys may be the same tensor
(MiniLMv2's Q-Q, K-K, V-V). The tensors (B, H, T, T) never exist: a block of them is made, compared,
turned into the gradient of the student's part and thrown away, all in the forward pass.

Shapes: B sequences, T positions, H relation heads, W width, d = W / H; small letters are parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from lit_distill.losses.relation_distances import (
    Distance,
    divergence,
    squares_of_probabilities,
    squares_of_scores,
)

BLOCK_BYTES = {"cpu": 4 * 2**20}
"""Memory of a block of both models, by device: on a CPU within 5 % of the fastest from 2 to 4 MiB,
and 2.5 times slower at 16 MiB, which leaves the cache."""

OTHER_BLOCK_BYTES = 256 * 2**20
"""On other devices, where every block costs launches."""

_HIDDEN = -1e30  # finite: the difference of two hidden scores is 0, and not a nan


@dataclass(frozen=True)
class Visible:
    """Which positions count, and which keys each may look at.

    Attributes:
        mask: (B, T), 1 at real positions; others are no queries and no keys.
        segments: (B, T), the text a position belongs to in a packed row; it looks at no other text.
        causal: a position looks at itself and at earlier ones only.
    """

    mask: Tensor
    segments: Tensor | None = None
    causal: bool = False

    def bias(self, sequences: slice, queries: slice, dtype: torch.dtype) -> Tensor:
        """What is added to the scores (b, h, q, T) of a block: 0, or hidden; (b, 1, q or 1, T)."""
        hidden = self.mask[sequences, None, None, :] == 0
        if self.segments is not None:
            texts = self.segments[sequences, None, :]
            hidden = hidden | (texts[..., queries, None] != texts[..., None, :])
        if self.causal:
            places = torch.arange(self.mask.shape[1], device=hidden.device)
            hidden = hidden | (places > places[queries, None])
        return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(
            hidden, _HIDDEN
        )


class Relation(NamedTuple):
    """One model's side of a relation.

    Attributes:
        queries: (B, T, W), relation heads side by side.
        keys: (B, T, W); None: the queries themselves.
    """

    queries: Tensor
    keys: Tensor | None = None

    def detach(self) -> Relation:
        """The relation without gradients."""
        return Relation(self.queries.detach(), None if self.keys is None else self.keys.detach())


def relation_kl(
    student: Relation,
    teacher: Relation,
    heads: int,
    visible: Visible,
    block_bytes: int | None = None,
) -> Tensor:
    """KL(teacher || student) of a relation, averaged over heads, summed over real positions.

    Each model's scores are divided by the root of its own d, so that widths may differ.

    Args:
        student: differentiable once.
        teacher: never given a gradient.
        heads: H, which splits both widths into equal parts whatever the attention heads are.
        visible: of both; the models read the same tokens.
        block_bytes: memory for the blocks; None: as is fast on the device.

    Returns:
        A scalar in at least float32. Divided by the number of real positions, it is MiniLM's loss.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    return _compared(divergence, student, teacher, heads, visible, block_bytes)


def relation_mse(
    student: Relation,
    teacher: Relation,
    heads: int,
    visible: Visible,
    of: Literal["scores", "probabilities"],
    block_bytes: int | None = None,
) -> Tensor:
    """Mean square between two relations, over heads and visible keys, summed over real positions.

        sum over real t of 1/(H |V_t|) sum over heads and u in V_t of (x_tu^S - x_tu^T)^2

    V_t are the keys that position t looks at; what it cannot see has no part in either.

    Args:
        student: differentiable once.
        teacher: never given a gradient.
        heads: H; see `relation_kl`.
        visible: of both.
        of: x: the scores Q K' / sqrt(d), each model's own d, or their softmax over V_t.
        block_bytes: see `relation_kl`.

    Returns:
        A scalar in at least float32.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    distance = squares_of_scores if of == "scores" else squares_of_probabilities
    return _compared(distance, student, teacher, heads, visible, block_bytes)


def _compared(
    distance: Distance,
    student: Relation,
    teacher: Relation,
    heads: int,
    visible: Visible,
    block_bytes: int | None,
) -> Tensor:
    """A distance of the rows, averaged over heads, summed over real positions."""
    _check(student, teacher, heads, visible)
    device = student.queries.device.type
    comparison = _Comparison(
        distance=distance,
        teacher=teacher.detach(),
        heads=heads,
        visible=visible,
        block_bytes=block_bytes or BLOCK_BYTES.get(device, OTHER_BLOCK_BYTES),
    )
    with torch.autocast(device, enabled=False):
        if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in student):
            value: Tensor = _Compared.apply(comparison, *student)  # type: ignore[no-untyped-call]
            return value
        return comparison.run(student, gradients=False)[0]


class _Compared(torch.autograd.Function):
    """(queries, keys) -> scalar; the gradients are made in the forward pass."""

    @staticmethod
    def forward(ctx: Any, comparison: _Comparison, queries: Tensor, keys: Tensor | None) -> Tensor:
        value, *gradients = comparison.run(Relation(queries, keys), gradients=True)
        ctx.save_for_backward(*gradients)
        return value

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("Relations are differentiable once: create_graph cannot work.")
        gradients = ctx.saved_tensors
        return None, *(None if g is None else g * incoming.to(g.dtype) for g in gradients)


@dataclass(frozen=True)
class _Comparison:
    """All but the student."""

    distance: Distance
    teacher: Relation
    heads: int
    visible: Visible
    block_bytes: int

    def run(
        self, student: Relation, gradients: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The value, and its gradients (B, T, W) by the student's queries and keys."""
        dtype = torch.promote_types(student.queries.dtype, self.teacher.queries.dtype)
        dtype = torch.promote_types(dtype, torch.float32)
        ours, theirs = (self._split(side, dtype) for side in (student, self.teacher))
        scale = ours.queries.shape[-1] ** -0.5
        slopes = [torch.zeros_like(ours.queries) for _ in ours] if gradients else []
        counted = self.visible.mask.to(dtype)[:, None, :, None]
        value = counted.new_zeros(())
        for block in self._blocks(ours.queries):
            sequences, heads, queries = block
            bias = self.visible.bias(sequences, queries, dtype)
            keys = ours.keys[sequences, heads]
            scores = (ours.queries[block] @ keys.mT).add_(bias)
            target = (theirs.queries[block] @ theirs.keys[sequences, heads].mT).add_(bias)
            rows = counted[sequences, :, queries]
            distances, slope = self.distance(scores, target, bias)
            value += (distances * rows).sum()
            if gradients:
                slopes[0][block] = (slope @ keys).mul_(rows * scale)
                slopes[1][sequences, heads] += slope.mT @ (ours.queries[block] * rows)
        value /= self.heads
        if not gradients:
            return value, None, None
        if student.keys is None:
            return value, self._join(slopes[0].add_(slopes[1]), student.queries), None
        return value, self._join(slopes[0], student.queries), self._join(slopes[1], student.keys)

    def _split(self, side: Relation, dtype: torch.dtype) -> _Heads:
        """(B, H, T, d) each, the queries divided by the root of d."""

        def heads(x: Tensor) -> Tensor:
            split = x.to(dtype).reshape(*x.shape[:2], self.heads, -1)
            return split.transpose(1, 2).contiguous()

        queries = heads(side.queries)
        keys = queries if side.keys is None else heads(side.keys)
        return _Heads(queries * queries.shape[-1] ** -0.5, keys)

    def _join(self, slopes: Tensor, like: Tensor) -> Tensor:
        """Gradients (B, T, W) of the mean over heads, in the precision of what they belong to."""
        return slopes.div_(self.heads).transpose(1, 2).flatten(2).to(like.dtype)

    def _blocks(self, queries: Tensor) -> Iterator[tuple[slice, slice, slice]]:
        """Parts of (B, H, T): whole sequences if one fits, else some of its heads, else queries."""
        sequences, heads, places, _ = queries.shape
        row = 2 * places * queries.element_size()
        one, some, few = (
            max(self.block_bytes // size, 1) for size in (row * places * heads, row * places, row)
        )
        for sequence in range(0, sequences, one):
            for head in range(0, heads, min(some, heads)):
                for query in range(0, places, min(few, places)):
                    yield (
                        slice(sequence, sequence + one),
                        slice(head, head + some),
                        slice(query, query + few),
                    )


class _Heads(NamedTuple):
    """One model's side, (B, H, T, d) each."""

    queries: Tensor
    keys: Tensor


def _check(student: Relation, teacher: Relation, heads: int, visible: Visible) -> None:
    """Raises ValueError for what cannot be computed."""
    for name, side in (("student", student), ("teacher", teacher)):
        shape = side.queries.shape
        if side.keys is not None and side.keys.shape != shape:
            raise ValueError(
                f"The {name}'s queries have the shape {tuple(shape)} and its keys "
                f"{tuple(side.keys.shape)}: repeat the heads that queries share."
            )
        if shape[:2] != visible.mask.shape:
            raise ValueError(
                f"The {name} has {tuple(shape[:2])} (sequences, positions) and the mask "
                f"{tuple(visible.mask.shape)}: relations are compared between the same tokens."
            )
        if heads < 1 or shape[2] % heads:
            raise ValueError(f"The {name}'s width {shape[2]} is not divisible by {heads} heads.")
