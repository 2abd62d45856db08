"""Losses of several models on each other, as loops over single numbers; see `triple_loss`.

What a model hears of the others is constant for it: `target` are their logits as plain floats, and
`own` may be complex.
"""

from __future__ import annotations

import cmath
from collections.abc import Sequence

from oracles.triple_loss import IGNORED, Number, Vector, cross_entropy, forward_kl, log_softmax


def pull(own: Vector, target: Sequence[Vector], temperature: float, to_mean: bool) -> complex:
    """T^2 KL of one row: the mean of those from each peer, or that from the peers' mean."""
    if to_mean:
        mean = [0j] * len(own)
        for peer in target:
            log_p = log_softmax(peer, temperature)
            for v in range(len(own)):
                mean[v] += cmath.exp(log_p[v]) / len(target)
        log_q = log_softmax(own, temperature)
        total = 0j
        for v in range(len(own)):
            total += mean[v] * (cmath.log(mean[v]) - log_q[v])
        return total * temperature**2
    total = 0j
    for peer in target:
        total += forward_kl(own, peer, temperature)
    return total / len(target)


def one_model(
    own: Sequence[Vector],
    target: Sequence[Sequence[Vector]],
    targets: Sequence[int],
    temperature: float,
    to_mean: bool = False,
) -> tuple[complex, complex]:
    """Sums of cross-entropy (rows with a target) and of the pull (all rows) over rows.

    Args:
        own: logits (N, V).
        heard: logits (K - 1, N, V) of the others.
        targets: (N,), `IGNORED` where a row has none.
        temperature: T of the pull.
        to_mean: see `pull`.
    """
    hard, soft = 0j, 0j
    for n in range(len(own)):
        if targets[n] != IGNORED:
            hard += cross_entropy(own[n], targets[n])
        soft += pull(own[n], [peer[n] for peer in target], temperature, to_mean)
    return hard, soft


__all__ = ["Number", "one_model", "pull"]
