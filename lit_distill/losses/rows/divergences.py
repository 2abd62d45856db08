"""Divergences between teacher and student distributions, one value per row of logits.

p = softmax(teacher / T), q = softmax(student / T). Every divergence is a true one: at least zero,
and zero where p = q. Each gives its value and its slope s_v = dD / d log q_v, from which follows
the gradient with respect to the student's logits, (s - q sum_v s_v) / T.
"""

# Types are objects here, not texts: jsonargparse would look the base's names up in the modules of
# its subclasses, not find `ClassVar` there, and then take any value for any of their knobs.

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lit_distill.knobs import Temperature, check_knobs
from lit_distill.losses.rows.row_loss import (
    Block,
    BlockLogits,
    Distribution,
    Scale,
    SoftLoss,
    log_softmax,
    required,
)


class Divergence(SoftLoss):
    """Base of all divergences: a temperature, and the gradient out of the slope.

    Attributes:
        temperature: T > 0; larger is softer.
        t_squared: multiply by T^2, so that the size of the gradient hardly depends on T (Hinton et
            al., 2015, section 2; DistilBERT's code). GKD and its relatives use no T^2.
    """

    temperature: float
    t_squared: bool

    needs_teacher: ClassVar[bool] = True
    needs_targets: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_knobs(type(self), vars(self))

    @abstractmethod
    def of(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """The formula: values (N,) from log-probabilities (N, V), finite and differentiable."""

    @abstractmethod
    def with_slope(self, p: Distribution, q: Distribution) -> tuple[Tensor, Tensor]:
        """Values (R,), and slopes (R, M): a fresh tensor; a multiple of q may be left out of it."""

    @property
    def allows_bucketing(self) -> bool:
        """See `Comparison`: true of all f-divergences that are finite there."""
        return True

    @property
    def factor(self) -> float:
        """The factor of the divergence: T^2 where it is asked for."""
        return self.temperature**2 if self.t_squared else 1.0

    def __call__(
        self, student: Tensor, teacher: Tensor | None = None, targets: Tensor | None = None
    ) -> Tensor:
        """Values (N,); see `RowLoss`."""
        del targets
        logits = required(teacher, "teacher logits"), student
        log_p, log_q = (log_softmax(each, self.temperature) for each in logits)
        # Entries switched off by -inf stay finite, so that 0 * log 0 is zero, gradients included.
        low = torch.finfo(log_q.dtype).min / 64
        return self.of(log_p.clamp(min=low), log_q.clamp(min=low)) * self.factor

    def on_block(self, block: Block, scale: Scale | None) -> tuple[Tensor, Tensor | None]:
        """See `RowLoss.on_block`."""
        values, gradient = block.signal.against(self, block.student.at(self.temperature))
        values = values * self.factor
        if scale is None:
            return values, None
        return values, gradient.mul_(scale * (self.factor / self.temperature))


@dataclass(frozen=True)
class ForwardKL(Divergence):
    """KL(p || q) = sum_v p_v (log p_v - log q_v), the soft-target loss of Hinton et al. (2015).

    Its gradient is that of the soft cross-entropy, but its value reaches zero when the student
    equals the teacher.

    Args:
        temperature: see `Divergence`.
        t_squared: see `Divergence`.
    """

    temperature: Temperature = 1.0
    t_squared: bool = True

    def of(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """See `Divergence`."""
        return (log_p.exp() * (log_p - log_q)).sum(-1)

    def with_slope(self, p: Distribution, q: Distribution) -> tuple[Tensor, Tensor]:
        """The slope is -p."""
        difference = torch.sub(p.log_probabilities, q.log_probabilities)
        values = difference.mul_(p.probabilities).sum(-1)
        return values, torch.neg(p.probabilities, out=difference)

    def on_block(self, block: Block, scale: Scale | None) -> tuple[Tensor, Tensor | None]:
        """See `RowLoss.on_block`; the gradient (q - p) / T is had in fewer passes."""
        if not isinstance(block.signal, BlockLogits):
            return super().on_block(block, scale)
        p, q = block.teacher.at(self.temperature), block.student.at(self.temperature)
        difference = torch.sub(p.shifted, q.shifted)
        values = difference.mul_(p.probabilities).sum(-1)
        values.add_(q.log_normaliser).sub_(p.log_normaliser).mul_(self.factor)
        if scale is None:
            return values, None
        # The block of differences is no longer needed: its memory, still in cache, is reused.
        gradient = torch.sub(q.probabilities, p.probabilities, out=difference)
        return values, gradient.mul_(scale * (self.factor / self.temperature))


@dataclass(frozen=True)
class ReverseKL(Divergence):
    """KL(q || p) = sum_v q_v (log q_v - log p_v): the student keeps to what the teacher likes.

    Source: MiniLLM (Gu et al., 2024, https://arxiv.org/abs/2306.08543), section 2.1; GKD.

    Args:
        temperature: see `Divergence`.
        t_squared: see `Divergence`.
    """

    temperature: Temperature = 1.0
    t_squared: bool = True

    @property
    def allows_bucketing(self) -> bool:
        """See `Comparison`; the divergence is infinite where the teacher gives nothing."""
        return False

    def of(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """See `Divergence`."""
        return (log_q.exp() * (log_q - log_p)).sum(-1)

    def with_slope(self, p: Distribution, q: Distribution) -> tuple[Tensor, Tensor]:
        """The slope is q (log q - log p)."""
        slope = torch.sub(q.log_probabilities, p.log_probabilities).mul_(q.probabilities)
        return slope.sum(-1), slope


@dataclass(frozen=True)
class SoftCrossEntropy(ForwardKL):
    """-sum_v p_v log q_v: `ForwardKL` and the teacher's entropy.

    The gradient is the same; the value is not zero where the student equals the teacher, and says
    nothing about how far they are apart. For comparison with codes that report it.
    """

    def of(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """See `Divergence`."""
        return -(log_p.exp() * log_q).sum(-1)

    def with_slope(self, p: Distribution, q: Distribution) -> tuple[Tensor, Tensor]:
        """The slope is -p."""
        product = torch.mul(p.probabilities, q.log_probabilities)
        return -product.sum(-1), torch.neg(p.probabilities, out=product)

    def on_block(self, block: Block, scale: Scale | None) -> tuple[Tensor, Tensor | None]:
        """See `RowLoss.on_block`."""
        return Divergence.on_block(self, block, scale)


@dataclass(frozen=True)
class TotalVariation(Divergence):
    """1/2 sum_v |p_v - q_v|: the largest difference of the probability of any event, at most 1.

    Source: f-DISTILL (Wen et al., 2023, https://arxiv.org/abs/2307.15190), section 3.3.

    Args:
        temperature: see `Divergence`.
        t_squared: see `Divergence`.
    """

    temperature: Temperature = 1.0
    t_squared: bool = True

    def of(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """See `Divergence`."""
        return (log_p.exp() - log_q.exp()).abs().sum(-1) / 2

    def with_slope(self, p: Distribution, q: Distribution) -> tuple[Tensor, Tensor]:
        """The slope is q sign(q - p) / 2."""
        difference = torch.sub(q.probabilities, p.probabilities)
        values = difference.abs().sum(-1).div_(2)
        return values, difference.sign_().mul_(q.probabilities).div_(2)
