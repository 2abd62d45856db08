"""The interpolated bound of mutual information as loops over single numbers.

Formula: Poole et al. (2019), with one of the others left out in the joint expectation, each in
turn. Numbers may be complex, for `oracles.triple_loss.gradient`.
"""

from __future__ import annotations

import cmath
from collections.abc import Sequence

from oracles.triple_loss import Number


def bound(
    scores: Sequence[Sequence[Number]],
    log_q: Sequence[Number],
    alpha: float,
    texts: Sequence[int] | None = None,
) -> complex:
    """The sum over all anchors i of what each adds.

    Args:
        scores: scores[i][k] = f(x_k, y_i), of as many x as y.
        log_q: of every anchor.
        alpha: the share of m.
        texts: which text each is of; None: all are of different ones.
    """
    total = 0j
    for i in range(len(scores)):
        text = list(range(len(scores))) if texts is None else list(texts)
        others = [k for k in range(len(scores)) if text[k] != text[i]]
        if not others:
            continue
        log_ratio = 0j
        for left_out in others:
            heard = [i] + [k for k in others if k != left_out]
            m = sum(cmath.exp(scores[i][k]) for k in heard) / len(heard)
            denominator = alpha * m + (1 - alpha) * cmath.exp(log_q[i])
            log_ratio += scores[i][i] - cmath.log(denominator)
        m = sum(cmath.exp(scores[i][k]) for k in others) / len(others)
        denominator = alpha * m + (1 - alpha) * cmath.exp(log_q[i])
        ratio = sum(cmath.exp(scores[i][k]) / denominator for k in others) / len(others)
        total += 1 + log_ratio / len(others) - ratio
    return total
