"""The alpha-beta divergence: two knobs for what is punished, large errors or confident ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from lit_distill.knobs import Positive, Temperature
from lit_distill.losses.rows.divergences import Divergence
from lit_distill.losses.rows.row_loss import Distribution

Exponent = Annotated[
    Positive, "the limits are ForwardKL (alpha 1, beta 0) and ReverseKL (alpha 0, beta 1)"
]
"""A power of a probability."""


@dataclass(frozen=True)
class AlphaBeta(Divergence):
    """-1/(a b) sum_v [p^a q^b - a/(a+b) p^(a+b) - b/(a+b) q^(a+b)].

    (a, b) -> (1, 0) is the forward KL, (0, 1) the reverse KL; a + b = 1 gives Amari's
    alpha-divergences (times 4 the squared Hellinger distance at 1/2, 1/2), (1, 1) half the squared
    Euclidean distance.

    Source: ABKD (Wang et al., 2025, https://arxiv.org/abs/2505.04560), section 4.

    Args:
        alpha: > 0; a larger one minds larger differences (the paper's best are 0.2 to 0.9).
        beta: > 0; a larger one minds entries of which the student is sure.
        temperature: see `Divergence`.
        t_squared: see `Divergence`.

    Raises:
        UserError: alpha or beta is not positive.
    """

    alpha: Exponent = 0.5
    beta: Exponent = 0.5
    temperature: Temperature = 1.0
    t_squared: bool = True

    @property
    def allows_bucketing(self) -> bool:
        """See `Comparison`; q^(a+b) adds up only if a + b = 1."""
        return self.alpha + self.beta == 1

    def of(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """See `Divergence`."""
        a, b = self.alpha, self.beta
        shared = (a * log_p + b * log_q).exp()
        own = a / (a + b) * ((a + b) * log_p).exp() + b / (a + b) * ((a + b) * log_q).exp()
        return (own - shared).sum(-1) / (a * b)

    def with_slope(self, p: Distribution, q: Distribution) -> tuple[Tensor, Tensor]:
        """The slope is -(p^a q^b - q^(a+b)) / a."""
        a, b = self.alpha, self.beta
        shared = torch.mul(p.log_probabilities, a).add_(q.log_probabilities, alpha=b).exp_()
        student = torch.mul(q.log_probabilities, a + b).exp_()
        teacher = torch.mul(p.log_probabilities, a + b).exp_()
        values = teacher.sub_(shared).sum(-1).mul_(a / (a + b))
        slope = student.sub_(shared)
        values.add_(slope.sum(-1), alpha=b / (a + b)).div_(a * b)
        return values, slope.div_(a)
