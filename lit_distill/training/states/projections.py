"""Projections of a student's states to its teacher's width; trained with it, never exported.

Shapes: D_S the student's width, D_T the teacher's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import nn

from lit_distill.knobs import check_knobs
from lit_distill.training.states.layer_maps import Pair


class StateProjection(ABC):
    """What makes the modules that a student's states pass on their way to a loss."""

    @abstractmethod
    def name(self, pair: Pair) -> str:
        """Of the module that a pair's states pass; pairs of one name share it."""

    @abstractmethod
    def build(self, width: int, wanted: int) -> nn.Module:
        """A fresh module from D_S = `width` to D_T = `wanted`."""


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
