"""Critics: what says whether two models' vectors are of one text.

Shapes: n vectors, D_S the student's width, D_T the teacher's, d a common one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from lit_distill.errors import UserError
from lit_distill.knobs import Count, Positive, check_knobs
from lit_distill.losses.states import unit


class Critic(ABC):
    """A score f(x, y) that is an inner product of what becomes of x and of y.

    So each rank makes its own vectors alone, and all scores are one product of matrices. A frozen
    dataclass of its hyper-parameters.
    """

    @abstractmethod
    def build(self, student: int, teacher: int) -> nn.Module:
        """A fresh module: its call makes vectors (n, d) each of x (n, D_S) and y (n, D_T).

        Args:
            student: D_S.
            teacher: D_T.

        Raises:
            UserError: vectors of these widths cannot be compared.
        """


@dataclass(frozen=True)
class CosineCritic(Critic):
    """cos(x, y) / temperature: nothing is trained; a vector of zeros scores 0.

    It tells apart at most e^(2 / temperature) texts: scores lie within 1 / temperature of 0.

    Attributes:
        temperature: what cosines are divided by (SimCSE and CLIP have 0.05 to 0.07).
    """

    temperature: Positive = 0.1

    def __post_init__(self) -> None:
        check_knobs(CosineCritic, vars(self))

    def build(self, student: int, teacher: int) -> nn.Module:
        """See `Critic`."""
        if student != teacher:
            raise UserError(
                f"CosineCritic compares states of one width, and the student's are {student} wide "
                f"and the teacher's {teacher}: give the states a LinearProjection, or use a "
                "BilinearCritic or SeparableCritic."
            )
        return _Cosine(self.temperature)


@dataclass(frozen=True)
class BilinearCritic(Critic):
    """y' W x / sqrt(D_T), with a trained W: states may be of different width."""

    def build(self, student: int, teacher: int) -> nn.Module:
        """See `Critic`."""
        return _Bilinear(student, teacher)


@dataclass(frozen=True)
class SeparableCritic(Critic):
    """g(x)' h(y) / sqrt(d), where g and h are trained networks with one hidden layer (GELU).

    Attributes:
        width: d.
        hidden: width of the hidden layers.
    """

    width: Count = 128
    hidden: Count = 256

    def __post_init__(self) -> None:
        check_knobs(SeparableCritic, vars(self))

    def build(self, student: int, teacher: int) -> nn.Module:
        """See `Critic`."""
        return _Separable(*(network(one, self.hidden, self.width) for one in (student, teacher)))


def network(width: int, hidden: int, out: int) -> nn.Sequential:
    """A network with one hidden layer (GELU)."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, out))


class _Cosine(nn.Module):
    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        return unit(student) / self.temperature, unit(teacher)


class _Bilinear(nn.Module):
    def __init__(self, student: int, teacher: int) -> None:
        super().__init__()
        self.map = nn.Linear(student, teacher, bias=False)
        self.scale = 1 / math.sqrt(teacher)

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        return self.map(student) * self.scale, teacher


class _Separable(nn.Module):
    def __init__(self, ours: nn.Sequential, theirs: nn.Sequential) -> None:
        super().__init__()
        self.ours, self.theirs = ours, theirs

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        ours, theirs = self.ours(student), self.theirs(teacher)
        return ours / math.sqrt(ours.shape[-1]), theirs
