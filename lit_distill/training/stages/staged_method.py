"""What stages ask of the method whose run they lead; `Distillation` has all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from lightning.pytorch import LightningModule
from torch import nn

from lit_distill.losses import AccumulationWindow
from lit_distill.measures.measure import MeasuredMethod


class Moves(Protocol):
    """What makes the updates of a run.

    Attributes:
        parameters: all that trains, by the name of its model.
        resting: parameters whose gradients are dropped before anybody reads them.
    """

    parameters: Mapping[str, list[nn.Parameter]]
    resting: list[nn.Parameter]


class StagedMethod(MeasuredMethod, Protocol):
    """A method that is measured, and whose updates can be led.

    Attributes:
        updates: what moves its parameters.
        logged: the numbers that were logged last.
    """

    updates: Moves
    logged: dict[str, float]

    def open_window(self, first: Any) -> AccumulationWindow:
        """The update that begins with a micro-batch."""


def staged(module: LightningModule) -> StagedMethod:
    """A run's module as stages know it."""
    return cast(StagedMethod, module)
