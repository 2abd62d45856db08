"""Losses of hidden states that a configuration names: summed over rows, averaged over the width.

Shapes: N rows, D width. Both states must have the same width; there is no projection here. Averages
over the width make a weight mean the same for models of every width, as the papers' code does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lit_distill.knobs import NotNegative, Positive, check_knobs
from lit_distill.losses.states import comparable, cosine, mse


class StateLoss(ABC):
    """A distance between the states of two models; a frozen dataclass of its hyper-parameters."""

    @abstractmethod
    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The sum over rows, in at least float32.

        Args:
            student: (N, D), differentiable.
            teacher: (N, D), never given a gradient.

        Raises:
            ValueError: the shapes differ.
        """


@dataclass(frozen=True)
class StateMSE(StateLoss):
    """1/D sum over d of (s_d - t_d)^2."""

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See `StateLoss`."""
        return mse(student, teacher) / student.shape[-1]


@dataclass(frozen=True)
class StateL1(StateLoss):
    """1/D sum over d of |s_d - t_d|."""

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See `StateLoss`."""
        student, teacher = comparable(student, teacher)
        return functional.l1_loss(student, teacher, reduction="none").mean(-1).sum()


@dataclass(frozen=True)
class StateSmoothL1(StateLoss):
    """1/D sum over d of x^2 / (2 beta) where |x| = |s_d - t_d| < beta, and |x| - beta / 2 beyond.

    Attributes:
        beta: where the parabola becomes a line; in units of the states.
    """

    beta: Positive = 1.0

    def __post_init__(self) -> None:
        check_knobs(StateSmoothL1, vars(self))

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See `StateLoss`."""
        student, teacher = comparable(student, teacher)
        values = functional.smooth_l1_loss(student, teacher, reduction="none", beta=self.beta)
        return values.mean(-1).sum()


@dataclass(frozen=True)
class StateCosine(StateLoss):
    """1 - cos(s, t): directions alone; a row of zeros counts 1."""

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See `StateLoss`."""
        return cosine(student, teacher)


@dataclass(frozen=True)
class StateLogSigmoidCosine(StateLoss):
    """-log sigmoid(cos(s, t)): directions alone, weakly; the second part of `StateL1Cosine`.

    It is never below 0.3133, which it reaches where both point the same way; opposite ways, 1.3133.
    """

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See `StateLoss`."""
        student, teacher = comparable(student, teacher)
        return -functional.logsigmoid(functional.cosine_similarity(student, teacher, -1)).sum()


@dataclass(frozen=True)
class StateL1Cosine(StateLoss):
    """1/D sum over d of |s_d - t_d| - weight log sigmoid(cos(s, t)): DistilHuBERT's (Chang, 2022).

    It is never below weight x 0.3133, which it reaches where both are equal.

    Attributes:
        weight: of the second part (paper: 1).
    """

    weight: NotNegative = 1.0

    def __post_init__(self) -> None:
        check_knobs(StateL1Cosine, vars(self))

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See `StateLoss`."""
        directions = StateLogSigmoidCosine()(student, teacher)
        return StateL1()(student, teacher) + self.weight * directions


@dataclass(frozen=True)
class StateNormalisedMSE(StateLoss):
    """1/D sum over d of (s_d - n_d)^2, n the teacher's row with mean 0 and variance 1.

    Layers whose states are of different size then weigh the same, and no single large dimension
    decides; the student learns normalised states (it needs a projection, or its own norm's gain).

    Attributes:
        both: whether the student's row is normalised, too: scale and offset then teach nothing.
        eps: added to the variance.
    """

    both: bool = False
    eps: Positive = 1e-5

    def __post_init__(self) -> None:
        check_knobs(StateNormalisedMSE, vars(self))

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See `StateLoss`."""
        student, teacher = comparable(student, teacher)
        wanted = functional.layer_norm(teacher, teacher.shape[-1:], eps=self.eps)
        if self.both:
            student = functional.layer_norm(student, student.shape[-1:], eps=self.eps)
        return torch.square(student - wanted).mean(-1).sum()
