"""Learning-rate schedules and term-weight schedules, chosen by `class_path`.

A learning-rate schedule is called with the optimizer and the number of updates of the whole run
(unknown while a config is read) and returns a torch scheduler stepped once per update.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lit_distill.errors import UserError
from lit_distill.knobs import NotNegative, Share, ShareBelowOne, check_knobs


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """All that trains, in one group with the optimizer's weight decay and one without.

    Biases and norms (at most one dimension) do not decay. Frozen teachers are in neither.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1]},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


WarmUp = Annotated[ShareBelowOne, "it is a share of all updates"]
"""How much of a run the learning rate rises."""


@dataclass(frozen=True)
class Schedule(ABC):
    """A learning-rate schedule over a run.

    Attributes:
        warmup: share of all updates over which the rate rises linearly from 0, in [0, 1).
    """

    warmup: WarmUp = 0.05

    def __post_init__(self) -> None:
        check_knobs(type(self), vars(self))

    @abstractmethod
    def __call__(self, optimizer: Optimizer, total_steps: int) -> LambdaLR:
        """The scheduler for a run of `total_steps` updates."""

    def _scheduler(
        self, optimizer: Optimizer, total: int, after_warmup: Callable[[int, int, int], float]
    ) -> LambdaLR:
        """The warm-up, and then a factor of how many updates are done, left, and there in all.

        The same numbers as of `transformers.optimization`, whose import brings that library's
        trainer along, and peft where it is installed.
        """
        warmup = round(self.warmup * total)

        def factor(step: int) -> float:
            if step < warmup:
                return step / warmup
            return after_warmup(step - warmup, total - step, max(1, total - warmup))

        return LambdaLR(optimizer, factor)


@dataclass(frozen=True)
class Linear(Schedule):
    """Warm-up, then linear decay to 0 (BERT, DistilBERT)."""

    def __call__(self, optimizer: Optimizer, total_steps: int) -> LambdaLR:
        """See `Schedule`."""
        return self._scheduler(optimizer, total_steps, lambda _, left, all_: max(0.0, left / all_))


@dataclass(frozen=True)
class Cosine(Schedule):
    """Warm-up, then a half cosine to 0."""

    def __call__(self, optimizer: Optimizer, total_steps: int) -> LambdaLR:
        """See `Schedule`."""

        def half_cosine(done: int, left: int, all_: int) -> float:
            del left
            return max(0.0, 0.5 * (1.0 + math.cos(math.pi * (done / all_))))

        return self._scheduler(optimizer, total_steps, half_cosine)


@dataclass(frozen=True)
class Constant(Schedule):
    """Warm-up, then the optimizer's own rate."""

    def __call__(self, optimizer: Optimizer, total_steps: int) -> LambdaLR:
        """See `Schedule`."""
        return self._scheduler(optimizer, total_steps, lambda *_: 1.0)


@dataclass(frozen=True)
class Ramp:
    """A term weight that goes linearly from `start` to `end` between two points of the run.

    Attributes:
        start: weight before `begin`.
        end: weight after `finish`.
        begin: training progress in [0, 1] at which the ramp starts.
        finish: training progress in [0, 1] at which it ends, not before `begin`.
    """

    start: NotNegative
    end: NotNegative
    begin: Share = 0.0
    finish: Share = 1.0

    def __post_init__(self) -> None:
        check_knobs(Ramp, vars(self))
        if self.begin > self.finish:
            raise UserError(
                f"Ramp from {self.begin} to {self.finish}: both are training progress in [0, 1], "
                "and begin must not be after finish."
            )

    def __call__(self, progress: float) -> float:
        """The weight at `progress` in [0, 1]."""
        if progress >= self.finish:
            return self.end
        if progress <= self.begin:
            return self.start
        share = (progress - self.begin) / (self.finish - self.begin)
        return self.start + share * (self.end - self.start)
