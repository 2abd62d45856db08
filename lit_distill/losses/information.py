"""The interpolated lower bound of mutual information (Poole et al., 2019), from scores.

Shapes: n anchors y_i, N vectors x_k of the whole batch, among them one of each anchor.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

STEEPEST = 20.0
"""Where e^z goes on as its tangent: sums of larger ones leave float32."""


def interpolated_bounds(
    scores: Tensor,
    log_baseline: Tensor | None,
    alpha: float,
    first: int = 0,
    texts: Tensor | None = None,
) -> Tensor:
    """What each anchor adds to the bound I_alpha of the mutual information I(X; Y).

        I_alpha = 1 + E_joint[log r] - E_marginal[r],   r = e^f(x,y) / (alpha m(y) + (1-alpha) q(y))

    m(y) is a mean of e^f(x_k, y) over K vectors. In the first expectation x is y's own and one of
    these K; in the second they belong to other texts, all K. A batch has N - 1 of the latter, so K
    is N - 1: in the first, one of the others is left out, each in turn. With the same K in both,
    the mean over batches is never above I(X; Y); with N in the first it could be.

    alpha = 1 is InfoNCE of K vectors, which never exceeds log K; alpha = 0 is TUBA (with q = e,
    NWJ), which knows no ceiling and varies more. Everything stays in logarithms; r of the second
    expectation is at most 1 / alpha, and beyond e^20 counts as its tangent there, so that it is
    finite for any finite score.

    Args:
        scores: f(x_k, y_i), (n, N), finite.
        log_baseline: log q(y_i), (n,); None where alpha is 1.
        alpha: in [0, 1].
        first: the column of the first anchor's own x.
        texts: (n,) numbers of the texts that the anchors are from: x of the same text are left out;
            None: each is from a text of its own. Columns of other ranks are other texts.

    Returns:
        (n,), whose mean is the bound. 0, the bound that always holds, for an anchor without others.

    Source: https://arxiv.org/abs/1905.06922, the nonlinearly interpolated bound; leaving one out is
    what its authors' notebook does (google-research/google-research, vbmi).
    """
    own, others = _places(scores, first, texts)
    count = others.sum(1)
    size = count.clamp(min=1)
    floor = torch.finfo(scores.dtype).min / 4  # as good as -inf, and has gradients
    log_means = _without_each(torch.where(own | others, scores, floor), floor)
    log_means = log_means - size.to(scores.dtype).log().unsqueeze(1)
    denominators = _mixed(log_means, log_baseline, alpha)
    joint = torch.where(own, scores, 0.0).sum(1)
    joint = joint - torch.where(others, denominators, 0.0).sum(1) / size
    marginal = _exp(torch.where(own, log_means - denominators, 0.0).sum(1))
    return torch.where(count > 0, 1 + joint - marginal, 0.0)


def _places(scores: Tensor, first: int, texts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Where (n, N) an anchor's own x is, and where those of other texts are."""
    rows, columns = scores.shape
    places = torch.arange(columns, device=scores.device)
    own = places[first : first + rows].unsqueeze(1) == places
    if texts is None:
        return own, ~own
    same = torch.zeros_like(own)
    same[:, first : first + rows] = texts.unsqueeze(1) == texts
    return own, ~same


def _without_each(scores: Tensor, floor: float) -> Tensor:
    """The logsumexp of every row without each of its entries (n, N), which cancels nothing."""
    edge = scores.new_full((len(scores), 1), floor)
    before = torch.cat([edge, scores.logcumsumexp(1)[:, :-1]], 1)
    after = torch.cat([scores.flip(1).logcumsumexp(1).flip(1)[:, 1:], edge], 1)
    return torch.logaddexp(before, after)


def _mixed(log_means: Tensor, log_baseline: Tensor | None, alpha: float) -> Tensor:
    """log(alpha m + (1 - alpha) q), of the shape of `log_means`."""
    if alpha == 1:
        return log_means
    assert log_baseline is not None
    baseline = log_baseline.unsqueeze(1).expand_as(log_means)
    if alpha == 0:
        return baseline
    return torch.logaddexp(log_means + math.log(alpha), baseline + math.log1p(-alpha))


def _exp(z: Tensor) -> Tensor:
    """e^z, and its tangent beyond `STEEPEST`."""
    beyond = (z - STEEPEST).clamp(min=0)
    return z.clamp(max=STEEPEST).exp() + math.exp(STEEPEST) * beyond
