"""Divergences from a mixture of teacher and student: bounded, whatever the student does.

p, q, slopes: see `lit_distill.losses.rows.divergences`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from lit_distill.knobs import Between, ShareBelowOne, Temperature
from lit_distill.losses.rows.divergences import Divergence, ForwardKL, ReverseKL
from lit_distill.losses.rows.row_loss import Distribution

_FORWARD, _REVERSE = ForwardKL(), ReverseKL()

MixtureShare = Annotated[
    Between,
    "at the ends the divergence is 0 for all students: ForwardKL is trl's beta 0, ReverseKL its 1",
]
"""Where between teacher and student a mixture lies."""


@dataclass(frozen=True)
class JensenShannon(Divergence):
    """beta KL(p || m) + (1 - beta) KL(q || m), with m = beta p + (1 - beta) q.

    At most log 2 for beta = 1/2. It vanishes at both ends: divided by beta it tends to the forward
    KL for beta -> 0, divided by 1 - beta to the reverse KL for beta -> 1. GKD's own code (trl) has
    the two KLs at beta = 0 and 1 instead, a jump; here they are `ForwardKL` and `ReverseKL`.

    Source: GKD (Agarwal et al., 2024, https://arxiv.org/abs/2306.13649), equation 1.

    Args:
        beta: in (0, 1).
        normalised: divide by beta (1 - beta), so that gradients keep their size over beta and both
            limits are KLs.
        temperature: see `Divergence`.
        t_squared: see `Divergence`.

    Raises:
        UserError: beta is out of range.
    """

    beta: MixtureShare = 0.5
    normalised: bool = False
    temperature: Temperature = 1.0
    t_squared: bool = True

    @property
    def factor(self) -> float:
        """The factor of `Divergence`, and the normalisation."""
        scale = self.beta * (1 - self.beta) if self.normalised else 1.0
        return super().factor / scale

    def of(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """See `Divergence`."""
        log_m = _log_mixture(log_p, log_q, self.beta)
        forward = (log_p.exp() * (log_p - log_m)).sum(-1)
        return self.beta * forward + (1 - self.beta) * (log_q.exp() * (log_q - log_m)).sum(-1)

    def with_slope(self, p: Distribution, q: Distribution) -> tuple[Tensor, Tensor]:
        """The slope is (1 - beta) q (log q - log m)."""
        log_m = _mixture(p, q, self.beta).log_()
        forward = torch.sub(p.log_probabilities, log_m).mul_(p.probabilities).sum(-1)
        reverse = torch.sub(q.log_probabilities, log_m, out=log_m).mul_(q.probabilities)
        slope = reverse.mul_(1 - self.beta)
        return forward.mul_(self.beta).add_(slope.sum(-1)), slope


@dataclass(frozen=True)
class SkewKL(Divergence):
    """KL(p || m), with m = alpha p + (1 - alpha) q: at most -log alpha, whatever the student.

    Source: DistiLLM (Ko et al., 2024, https://arxiv.org/abs/2402.03898), section 3.1.

    Args:
        alpha: share of p in the mixture, in [0, 1); 0 is the forward KL (paper: 0.1).
        temperature: see `Divergence`.
        t_squared: see `Divergence`.

    Raises:
        UserError: alpha is out of range.
    """

    alpha: ShareBelowOne = 0.1
    temperature: Temperature = 1.0
    t_squared: bool = True

    def of(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """See `Divergence`."""
        return (log_p.exp() * (log_p - _log_mixture(log_p, log_q, self.alpha))).sum(-1)

    def with_slope(self, p: Distribution, q: Distribution) -> tuple[Tensor, Tensor]:
        """The slope is -(1 - alpha) p q / m."""
        if self.alpha == 0:  # the log of a mixture ends at that of the smallest probability
            return _FORWARD.with_slope(p, q)
        mixture = _mixture(p, q, self.alpha)
        difference = torch.sub(p.log_probabilities, mixture.log())
        values = difference.mul_(p.probabilities).sum(-1)
        slope = torch.div(q.probabilities, mixture, out=mixture)
        return values, slope.mul_(p.probabilities).mul_(self.alpha - 1)


@dataclass(frozen=True)
class SkewReverseKL(Divergence):
    """KL(q || m), with m = (1 - alpha) p + alpha q: at most -log alpha, whatever the student.

    Source: DistiLLM (Ko et al., 2024, https://arxiv.org/abs/2402.03898), section 3.1.

    Args:
        alpha: share of q in the mixture, in [0, 1); 0 is the reverse KL (paper: 0.1).
        temperature: see `Divergence`.
        t_squared: see `Divergence`.

    Raises:
        UserError: alpha is out of range.
    """

    alpha: ShareBelowOne = 0.1
    temperature: Temperature = 1.0
    t_squared: bool = True

    @property
    def allows_bucketing(self) -> bool:
        """See `Comparison`; without a share of q it is infinite there."""
        return self.alpha > 0

    def of(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """See `Divergence`."""
        return (log_q.exp() * (log_q - _log_mixture(log_p, log_q, 1 - self.alpha))).sum(-1)

    def with_slope(self, p: Distribution, q: Distribution) -> tuple[Tensor, Tensor]:
        """The slope is q (log q - log m - alpha q / m)."""
        if self.alpha == 0:
            return _REVERSE.with_slope(p, q)
        mixture = _mixture(p, q, 1 - self.alpha)
        reverse = torch.sub(q.log_probabilities, mixture.log()).mul_(q.probabilities)
        values = reverse.sum(-1)
        share = torch.div(q.probabilities, mixture, out=mixture)
        return values, reverse.addcmul_(share, q.probabilities, value=-self.alpha)


def _log_mixture(log_p: Tensor, log_q: Tensor, share: float) -> Tensor:
    """Log of share p + (1 - share) q."""
    if share in (0, 1):
        return log_p if share else log_q
    return torch.logaddexp(log_p + math.log(share), log_q + math.log1p(-share))


def _mixture(p: Distribution, q: Distribution, share: float) -> Tensor:
    """Share p + (1 - share) q, fresh; kept from zero, where its log only meets factors of zero."""
    mixture = torch.mul(p.probabilities, share).add_(q.probabilities, alpha=1 - share)
    return mixture.clamp_min_(torch.finfo(mixture.dtype).tiny)
