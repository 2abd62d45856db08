"""Distances between blocks of two models' scores, with their gradients; see `relations`.

Shapes: b sequences, h heads, q query positions, T keys.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Distance = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(student's scores (b, h, q, T), the teacher's, what `Visible.bias` added to both) -> values of
rows (b, h, q, 1), and their gradient by the student's scores. The scores' memory is used up."""


def divergence(scores: Tensor, target: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """KL of softmax(target) from softmax(scores).

    The normalisers come back out of the softmax, which saves a second exponential: the largest
    score minus the logarithm of its probability.
    """
    del bias
    q, p = scores.softmax(-1), target.softmax(-1)
    log_zq = scores.amax(-1, True) - q.amax(-1, True).log()
    log_zp = target.amax(-1, True) - p.amax(-1, True).log()
    gaps = target.sub_(scores).mul_(p).sum(-1, True)
    return gaps + log_zq - log_zp, q.sub_(p)


def squares_of_scores(scores: Tensor, target: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of squared differences over visible keys; hidden scores are equal to the last bit."""
    gaps, shares = scores.sub_(target), _shares(bias)
    return gaps.square().sum(-1, True) * shares, gaps.mul_(2 * shares)


def squares_of_probabilities(scores: Tensor, target: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of squared differences of softmax over visible keys; hidden ones have 0 in both."""
    q, shares = scores.softmax(-1), _shares(bias)
    gaps = target.softmax(-1).sub_(q).neg_()
    values, means = gaps.square().sum(-1, True) * shares, (gaps * q).sum(-1, True)
    return values, gaps.sub_(means).mul_(q).mul_(2 * shares)


def _shares(bias: Tensor) -> Tensor:
    """1 over the number of visible keys (b, 1, q or 1, 1); of a row without any, 1."""
    return (bias == 0).sum(-1, True).clamp(min=1).to(bias.dtype).reciprocal()
