"""Losses against one right token per row, zero where the target is `IGNORED`.

q = softmax(student), y the target.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Interval
from torch import Tensor

from lit_distill.knobs import NotNegative, ShareBelowOne, check_knobs
from lit_distill.losses.rows.row_loss import Block, HardLoss, Scale, index_of, log_softmax, required


class HardTargetLoss(HardLoss):
    """A `RowLoss` that reads targets and no teacher."""

    needs_teacher: ClassVar[bool] = False
    needs_targets: ClassVar[bool] = True

    @abstractmethod
    def __call__(
        self, student: Tensor, teacher: Tensor | None = None, targets: Tensor | None = None
    ) -> Tensor:
        """Values (N,); see `RowLoss`."""

    @abstractmethod
    def on_block(self, block: Block, scale: Scale | None) -> tuple[Tensor, Tensor | None]:
        """See `RowLoss.on_block`."""


class _OfTarget(HardTargetLoss):
    """A function f of log q_y, the log-probability of the target."""

    @abstractmethod
    def of(self, log_q: Tensor) -> Tensor:
        """F at log q_y (N,), differentiable."""

    @abstractmethod
    def slope(self, log_q: Tensor) -> Tensor:
        """F' at log q_y (N,)."""

    def __call__(
        self, student: Tensor, teacher: Tensor | None = None, targets: Tensor | None = None
    ) -> Tensor:
        """Values (N,); see `RowLoss`."""
        del teacher
        index, counted = index_of(required(targets, "targets"))
        return torch.where(counted, self.of(log_softmax(student).gather(1, index).squeeze(1)), 0.0)

    def on_block(self, block: Block, scale: Scale | None) -> tuple[Tensor, Tensor | None]:
        """See `RowLoss.on_block`; the gradient is f' (one_hot(y) - q)."""
        index, counted = index_of(block.targets)
        q = block.student.at(1.0)
        log_q = q.shifted.gather(1, index).squeeze(1) - q.log_normaliser
        values = torch.where(counted, self.of(log_q), 0.0)
        if scale is None:
            return values, None
        factor = (torch.where(counted, self.slope(log_q), 0.0) * scale).unsqueeze(1)
        gradient = q.probabilities * -factor
        return values, gradient.scatter_add_(1, index, factor)


@dataclass(frozen=True)
class CrossEntropy(_OfTarget):
    """-log q_y."""

    def of(self, log_q: Tensor) -> Tensor:
        """See `_OfTarget`."""
        return -log_q

    def slope(self, log_q: Tensor) -> Tensor:
        """See `_OfTarget`."""
        return torch.full_like(log_q, -1)


LogOfZero = Annotated[float, Interval(ge=-1e9, lt=0), "it stands for log 0"]
"""A finite logarithm in place of minus infinity."""


@dataclass(frozen=True)
class FocalLoss(_OfTarget):
    """-(1 - q_y)^gamma log q_y: rows that are right already count less.

    Source: Lin et al. (2017), https://arxiv.org/abs/1708.02002, equation 4, with alpha = 1.

    Args:
        gamma: >= 0; 0 is the cross-entropy, the paper's best is 2.

    Raises:
        UserError: gamma is negative.
    """

    gamma: NotNegative = 2.0

    def __post_init__(self) -> None:
        check_knobs(type(self), vars(self))

    def of(self, log_q: Tensor) -> Tensor:
        """See `_OfTarget`."""
        return -((-torch.expm1(log_q)) ** self.gamma) * log_q

    def slope(self, log_q: Tensor) -> Tensor:
        """See `_OfTarget`."""
        # A row that is right to the last digit: 0^(gamma - 1) would be infinite, times log q = 0.
        wrong = (-torch.expm1(log_q)).clamp_min(torch.finfo(log_q.dtype).tiny)
        return wrong ** (self.gamma - 1) * (self.gamma * log_q.exp() * log_q - wrong)


@dataclass(frozen=True)
class SymmetricCrossEntropy(_OfTarget):
    """-alpha log q_y - beta A (1 - q_y): the second term bounds what a wrong label can do.

    The second is the reverse cross-entropy -sum_v q_v log y_v with log 0 set to A.

    Source: Wang et al. (2019), https://arxiv.org/abs/1908.06112, equations 5 to 7.

    Args:
        alpha: weight of the cross-entropy (paper: 0.1 on CIFAR-10).
        beta: weight of the reverse one (1.0).
        log_zero: A < 0 (-4).

    Raises:
        UserError: A is not negative.
    """

    alpha: NotNegative = 0.1
    beta: NotNegative = 1.0
    log_zero: LogOfZero = -4.0

    def __post_init__(self) -> None:
        check_knobs(type(self), vars(self))

    def of(self, log_q: Tensor) -> Tensor:
        """See `_OfTarget`."""
        return -self.alpha * log_q + self.beta * self.log_zero * torch.expm1(log_q)

    def slope(self, log_q: Tensor) -> Tensor:
        """See `_OfTarget`."""
        return -self.alpha + self.beta * self.log_zero * log_q.exp()


@dataclass(frozen=True)
class SmoothedCrossEntropy(HardTargetLoss):
    """Cross-entropy to a target that keeps 1 - s on y and spreads s over all V entries.

    -(1 - s) log q_y - (s / V) sum_v log q_v, as torch's `label_smoothing`.

    Source: Szegedy et al. (2016), https://arxiv.org/abs/1512.00567, section 7.

    Args:
        smoothing: s in [0, 1); 0 is the cross-entropy (paper: 0.1).

    Raises:
        UserError: s is out of range.
    """

    smoothing: ShareBelowOne = 0.1

    def __post_init__(self) -> None:
        check_knobs(type(self), vars(self))

    def __call__(
        self, student: Tensor, teacher: Tensor | None = None, targets: Tensor | None = None
    ) -> Tensor:
        """Values (N,); see `RowLoss`."""
        del teacher
        index, counted = index_of(required(targets, "targets"))
        log_q = log_softmax(student)
        log_q = log_q.clamp(min=torch.finfo(log_q.dtype).min / 64)
        picked = log_q.gather(1, index).squeeze(1)
        values = -(1 - self.smoothing) * picked - self.smoothing * log_q.mean(-1)
        return torch.where(counted, values, 0.0)

    def on_block(self, block: Block, scale: Scale | None) -> tuple[Tensor, Tensor | None]:
        """See `RowLoss.on_block`; the gradient is q less the smoothed target."""
        index, counted = index_of(block.targets)
        q, kept = block.student.at(1.0), 1 - self.smoothing
        picked = q.shifted.gather(1, index).squeeze(1)
        expected = kept * picked + self.smoothing * q.shifted.mean(-1)
        values = torch.where(counted, q.log_normaliser - expected, 0.0)
        if scale is None:
            return values, None
        factor = (counted.to(values.dtype) * scale).unsqueeze(1)
        gradient = (q.probabilities - self.smoothing / q.shifted.shape[1]).mul_(factor)
        return values, gradient.scatter_add_(1, index, -kept * factor)
