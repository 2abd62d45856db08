"""How far the stages of a run have come: plain values, which a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lit_distill.errors import UserError
from lit_distill.training.stages.stage import Plateau, Stage


@dataclass
class Progress:
    """Which stage a run is in, and what its validations have said.

    Attributes:
        stages: of the run, in order.
        number: of the present stage, from 0.
        began: updates before its first one.
        ends: updates with which earlier ones ended, in order.
        best: the lowest watched value of the present stage (the highest, negated, of metrics of
            which more is better); None: none was seen.
        best_at: updates before that validation.
        worse: validations in a row since then that were no better.
        flat: whether they are as many as the stage bears.
        weights: of the best validation, by name, on the CPU, where the stage restores them.
    """

    stages: Sequence[Stage]
    number: int = 0
    began: int = 0
    ends: list[int] = field(default_factory=list)
    best: float | None = None
    best_at: int = 0
    worse: int = 0
    flat: bool = False
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def stage(self) -> Stage:
        """The present one."""
        return self.stages[self.number]

    @property
    def is_last(self) -> bool:
        """Whether none follows."""
        return self.number + 1 == len(self.stages)

    def is_over(self, updates: int) -> bool:
        """Whether the present stage has ended.

        Args:
            updates: of the run, until now.
        """
        until = self.stage.until
        if isinstance(until, Plateau):
            return self.flat or (until.most is not None and updates - self.began >= until.most)
        return until is not None and updates >= until

    def next(self, updates: int) -> None:
        """Goes on to the next stage; what was seen in this one is forgotten."""
        self.number, self.began = self.number + 1, updates
        self.ends.append(updates)
        self.best, self.best_at, self.worse, self.flat, self.weights = None, 0, 0, False, {}

    def see(self, value: float, updates: int) -> bool:
        """Counts a validation of the present stage.

        Args:
            value: of what it is watched by, of which less is better; NaN is never better.
            updates: of the run, until now.

        Returns:
            Whether it is the best one.
        """
        until = self.stage.until
        least = until.min_delta if isinstance(until, Plateau) else 0.0
        better = value == value if self.best is None else value < self.best - least
        if better:
            self.best, self.best_at, self.worse = value, updates, 0
            return True
        self.worse += 1
        if isinstance(until, Plateau) and self.worse >= until.patience:
            self.flat = True
        return False

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        found = {name: value for name, value in vars(self).items() if name != "stages"}
        return {**found, "names": [stage.name for stage in self.stages]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what a checkpoint holds.

        Raises:
            UserError: other stages have led there.
        """
        number = state["number"]
        then = state["names"][: number + 1]
        now = [stage.name for stage in self.stages[: number + 1]]
        if then != now:
            raise UserError(
                f"The checkpoint lies in stage {number + 1} of its run, {', '.join(then)}, and the "
                f"stages of this one begin with {', '.join(now) or 'none'}. Resume with the stages "
                "that led there (later ones may be changed), or start a new run."
            )
        for name in ("number", "began", "best", "best_at", "worse", "flat"):
            setattr(self, name, state[name])
        self.ends, self.weights = [*state["ends"]], dict(state["weights"])
