"""Projections of one model's states to the other's width; checkpointed, never exported.

Shapes: D_S the student's width, D_T the teacher's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lit_distill.errors import UserError
from lit_distill.knobs import Count, check_knobs
from lit_distill.training.states.layer_maps import Pair


class StateProjection(ABC):
    """What makes the modules that states of one model pass on their way to a loss.

    Attributes:
        of_teacher: whether these are the teacher's states, brought to the student's width; else
            the student's, brought to the teacher's.
    """

    of_teacher: ClassVar[bool] = False

    @abstractmethod
    def name(self, pair: Pair) -> str:
        """Of the module that a pair's states pass; pairs of one name share it."""

    @abstractmethod
    def build(self, width: int, wanted: int) -> nn.Module:
        """A fresh module from D_S = `width` to D_T = `wanted`, or back if it is `of_teacher`."""


@dataclass(frozen=True)
class LinearProjection(StateProjection):
    """h W + b.

    Attributes:
        per: how many there are: one for each "pair", one for each "layer" of the student (whose
            several pairs share it), or a single one for "all".
        start: "random", as torch starts a linear layer; "identity": ones on W's diagonal and b = 0,
            so that states of equal width begin as they are.
    """

    per: Literal["pair", "layer", "all"] = "pair"
    start: Literal["random", "identity"] = "random"

    def __post_init__(self) -> None:
        check_knobs(LinearProjection, vars(self))

    def name(self, pair: Pair) -> str:
        """See `StateProjection`."""
        own, other = pair
        return {"pair": f"to_{other}_from_{own}", "layer": f"from_{own}", "all": "from_all"}[
            self.per
        ]

    def build(self, width: int, wanted: int) -> nn.Module:
        """See `StateProjection`."""
        linear = nn.Linear(width, wanted)
        if self.start == "identity":
            nn.init.eye_(linear.weight)
            nn.init.zeros_(linear.bias)
        return linear


@dataclass(frozen=True)
class PCAProjection(StateProjection):
    """(h - mean) V: the teacher's states in their D_S directions of the largest variance.

    One map for each of its mapped states, computed before the first step from one random token each
    of the first texts of the training data, by a singular value decomposition; nothing is trained.
    It is in checkpoints, so that a resumed run has the same one. No map of that rank is nearer to
    those states in squared distance.

    Attributes:
        texts: how many are read; at least as many as the student's states are wide.
        center: whether the mean is taken off, as PCA does; False: an SVD of the states as they are.

    Source: BiStil (https://arxiv.org/abs/2306.01709), without centring
    (AlanAnsell/bistil@bfa70e5, `compute_per_layer_representation_mappings`).
    """

    of_teacher: ClassVar[bool] = True

    texts: Count = 4096
    center: bool = True

    def __post_init__(self) -> None:
        check_knobs(PCAProjection, vars(self))

    def name(self, pair: Pair) -> str:
        """See `StateProjection`; one map for each of the teacher's states."""
        return f"directions_of_{pair[1]}"

    def build(self, width: int, wanted: int) -> nn.Module:
        """See `StateProjection`.

        Raises:
            UserError: the student's states are wider than the teacher's, or than texts are read.
        """
        if width > wanted:
            raise UserError(
                f"PCAProjection narrows the teacher's states, which are {wanted} wide, and the "
                f"student's are wider ({width}): use a LinearProjection."
            )
        if self.texts < width:
            raise UserError(
                f"PCAProjection.texts is {self.texts}, and {width} directions, as many as the "
                f"student's states are wide, need as many texts: set it to {width} or far more."
            )
        return Directions(wanted, width)


class Directions(nn.Module):
    """A linear map that is computed once, and not trained.

    Args:
        width: of what it reads.
        count: of what it gives.

    Attributes:
        mean: (width,), taken off first.
        matrix: (width, count) with orthonormal columns; not numbers until it is computed.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("matrix", torch.full((width, count), torch.nan))

    @property
    def is_computed(self) -> bool:
        """Whether `compute`, or a checkpoint, has given it numbers."""
        return not bool(self.matrix.isnan().any())

    def compute(self, rows: Tensor, center: bool) -> None:
        """Finds the directions of rows (N, width), in float64.

        Args:
            rows: N is at least the number of directions.
            center: whether their mean is taken off.
        """
        rows = rows.double()
        mean = rows.mean(0) if center else rows.new_zeros(rows.shape[1])
        *_, directions = torch.linalg.svd(rows - mean, full_matrices=False)
        found = directions[: self.matrix.shape[1]].T
        largest = found.gather(0, found.abs().argmax(0, keepdim=True))  # signs are arbitrary
        self.matrix.copy_(found * largest.sign())
        self.mean.copy_(mean)

    def forward(self, states: Tensor) -> Tensor:
        """(N, count) from (N, width), in at least float32."""
        with torch.autocast(states.device.type, enabled=False):
            dtype = torch.promote_types(states.dtype, torch.float32)
            return (states.to(dtype) - self.mean.to(dtype)) @ self.matrix.to(dtype)
