"""What teachers say about rows, beyond one live model: several of them, or their likeliest tokens.

A signal takes the teacher's place in `linear_losses`; every divergence works with each. A live
teacher is a `Head`, which is a signal too.

Shapes: N rows, R rows of a block, V vocabulary, K teachers, k likeliest tokens.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor

from lit_distill.losses.fused.head import Head
from lit_distill.losses.rows.row_loss import (
    BlockLogits,
    BlockSignal,
    Comparison,
    Softened,
    compare,
)


@dataclass(frozen=True)
class EnsembleSignal(ABC):
    """Several live teachers of one vocabulary, whose widths may differ.

    Attributes:
        heads: K of them, on the same rows.
        weights: K positive numbers; of means, they sum to 1.

    Raises:
        ValueError: the weights do not fit.
    """

    heads: tuple[Head, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.heads) or not all(w > 0 for w in self.weights):
            raise ValueError(
                f"{len(self.heads)} teachers need as many positive weights, found {self.weights}."
            )

    def detach(self) -> Self:
        """See `Head.detach`."""
        return replace(self, heads=tuple(head.detach() for head in self.heads))

    def cast_for_autocast(self, dtype: torch.dtype | None) -> Self:
        """See `Head.cast_for_autocast`."""
        return replace(self, heads=tuple(head.cast_for_autocast(dtype) for head in self.heads))

    def select(self, order: Tensor | None) -> Self:
        """See `Head.select`."""
        return replace(self, heads=tuple(head.select(order) for head in self.heads))

    @abstractmethod
    def block(self, logits: Sequence[Tensor], rows: slice) -> BlockSignal:
        """What the teachers say about `rows`, given the logits (R, V) of each head there."""


class _Mean(EnsembleSignal):
    def __post_init__(self) -> None:
        super().__post_init__()
        if abs(sum(self.weights) - 1) > 1e-6:
            raise ValueError(f"The weights of a mean sum to 1, found {self.weights}.")


class MeanOfLogits(_Mean):
    """sum_k w_k z_k: a geometric mean of the distributions, normalised again."""

    def block(self, logits: Sequence[Tensor], rows: slice) -> BlockSignal:
        """See `EnsembleSignal.block`."""
        mean = logits[0] * self.weights[0]
        for each, weight in zip(logits[1:], self.weights[1:], strict=True):
            mean.add_(each, alpha=weight)
        return BlockLogits(mean)


class MeanOfProbabilities(_Mean):
    """sum_k w_k softmax(z_k / T): an ensemble's own prediction."""

    def block(self, logits: Sequence[Tensor], rows: slice) -> BlockSignal:
        """See `EnsembleSignal.block`."""
        return BlockMixture([BlockLogits(each) for each in logits], self.weights)


class SumOfDivergences(EnsembleSignal):
    """sum_k w_k D(p_k, q): every teacher pulls for itself."""

    def block(self, logits: Sequence[Tensor], rows: slice) -> BlockSignal:
        """See `EnsembleSignal.block`."""
        return BlockSum([BlockLogits(each) for each in logits], self.weights)


Tail = Literal["bucket", "renormalise", "uniform"]


@dataclass(frozen=True)
class TopK:
    """The k likeliest tokens of each row, and a rule for the mass of all others.

    Attributes:
        ids: (N, k), different ones within a row.
        log_probabilities: (N, k), of the teacher's whole distribution at `temperature`.
        temperature: the only one at which divergences can be had.
        tail: what becomes of the mass that is left.
            "bucket": it is one more entry, compared with the student's mass outside the k: a true
            divergence of coarser distributions.
            "renormalise": it is dropped, and the k entries are the teacher's whole distribution.
            "uniform": it lies evenly on the V - k other entries.
            All three are exact for k = V.
    """

    ids: Tensor
    log_probabilities: Tensor
    temperature: float = 1.0
    tail: Tail = "bucket"

    @property
    def heads(self) -> tuple[Head, ...]:
        """No heads: no logits are made."""
        return ()

    def detach(self) -> TopK:
        """The same log-probabilities, outside any graph."""
        return replace(self, log_probabilities=self.log_probabilities.detach())

    def cast_for_autocast(self, dtype: torch.dtype | None) -> TopK:
        """The signal as it is: nothing is multiplied."""
        return self

    def select(self, order: Tensor | None) -> TopK:
        """The rows `order` (N,), or all as they are."""
        if order is None:
            return self
        log_p = self.log_probabilities.index_select(0, order)
        return replace(self, ids=self.ids.index_select(0, order), log_probabilities=log_p)

    def block(self, logits: Sequence[Tensor], rows: slice) -> BlockSignal:
        """See `EnsembleSignal.block`; there are no logits."""
        return _BlockTopK(
            replace(self, ids=self.ids[rows].long(), log_probabilities=self.log_probabilities[rows])
        )


TeacherSignal = Head | EnsembleSignal | TopK


@dataclass(frozen=True)
class _Distribution:
    log_probabilities: Tensor
    probabilities: Tensor


@dataclass(frozen=True)
class BlockMixture:
    """sum_k w_k softmax(z_k / T) of a block of rows."""

    teachers: Sequence[BlockLogits]
    weights: tuple[float, ...]

    def against(self, divergence: Comparison, q: Softened) -> tuple[Tensor, Tensor]:
        """See `BlockSignal`."""
        parts = [each.at(divergence.temperature) for each in self.teachers]
        shares = [math.log(weight) for weight in self.weights]
        log_p = parts[0].log_probabilities + shares[0]
        p = parts[0].probabilities * self.weights[0]
        for part, share, weight in zip(parts[1:], shares[1:], self.weights[1:], strict=True):
            log_p = torch.logaddexp(log_p, part.log_probabilities + share)
            p.add_(part.probabilities, alpha=weight)
        return compare(divergence, _Distribution(log_p, p), q)


@dataclass(frozen=True)
class BlockSum:
    """sum_k w_k D(p_k, q) over a block of rows."""

    teachers: Sequence[BlockLogits]
    weights: tuple[float, ...]

    def against(self, divergence: Comparison, q: Softened) -> tuple[Tensor, Tensor]:
        """See `BlockSignal`."""
        values, gradient = self.teachers[0].against(divergence, q)
        values, gradient = values * self.weights[0], gradient.mul_(self.weights[0])
        for teacher, weight in zip(self.teachers[1:], self.weights[1:], strict=True):
            more, its_gradient = teacher.against(divergence, q)
            values.add_(more, alpha=weight)
            gradient.add_(its_gradient, alpha=weight)
        return values, gradient


@dataclass(frozen=True)
class _BlockTopK:
    top: TopK

    def against(self, divergence: Comparison, q: Softened) -> tuple[Tensor, Tensor]:
        if divergence.temperature != self.top.temperature:
            raise ValueError(
                f"{divergence} is at temperature {divergence.temperature}, and the teacher's "
                f"likeliest tokens were kept at {self.top.temperature}: the rest, which another "
                "temperature would need, is gone."
            )
        log_p = self.top.log_probabilities.to(q.probabilities.dtype)
        # Tokens that the teacher forbids (-inf) stay finite, so that 0 log 0 is 0.
        log_p = log_p.clamp_min(torch.finfo(log_p.dtype).min / 64)
        total = log_p.logsumexp(-1, keepdim=True)
        left = -torch.expm1(total.clamp_max(0))  # (R, 1), the mass of the others
        if self.top.tail == "renormalise":
            if not divergence.allows_bucketing:
                raise ValueError(
                    f"{divergence} is not defined where the teacher gives nothing, as outside its "
                    'likeliest tokens with tail "renormalise": use "bucket" or "uniform".'
                )
            return self._bucketed(divergence, log_p - total, torch.zeros_like(left), q)
        log_p = log_p - total.clamp_min(0)  # half precision may leave more than everything
        if self.top.tail == "uniform":
            return self._spread(divergence, log_p, left, q)
        return self._bucketed(divergence, log_p, left, q)

    def _spread(
        self, divergence: Comparison, log_p: Tensor, left: Tensor, q: Softened
    ) -> tuple[Tensor, Tensor]:
        others = max(q.probabilities.shape[1] - log_p.shape[1], 1)
        whole = _log(left / others).expand_as(q.probabilities).scatter(1, self.top.ids, log_p)
        return compare(divergence, _Distribution(whole, whole.exp()), q)

    def _bucketed(
        self, divergence: Comparison, log_p: Tensor, left: Tensor, q: Softened
    ) -> tuple[Tensor, Tensor]:
        ids = self.top.ids
        rest = q.probabilities.scatter(1, ids, 0.0)
        outside = rest.sum(-1, keepdim=True)
        log_q = q.log_probabilities.gather(1, ids)
        teacher = torch.cat([log_p, _log(left)], 1)
        student = torch.cat([log_q, _log(outside)], 1)
        values, slope = divergence.with_slope(
            _Distribution(teacher, torch.cat([log_p.exp(), left], 1)),
            _Distribution(student, torch.cat([log_q.exp(), outside], 1)),
        )
        # An entry outside moves the bucket by its share of it.
        tiny = torch.finfo(rest.dtype).tiny
        gradient = rest.mul_(slope[:, -1:] / outside.clamp_min(tiny)).scatter_(
            1, ids, slope[:, :-1]
        )
        return values, gradient.addcmul_(q.probabilities, slope.sum(-1, keepdim=True), value=-1)


def _log(probabilities: Tensor) -> Tensor:
    """Logarithms that are finite also of zero, to which no divergence gives a weight."""
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
