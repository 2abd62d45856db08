"""From little mixing to much, over a run: shares of languages that change with the updates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lit_distill.errors import UserError
from lit_distill.knobs import Count, CountOrNone, check_knobs

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curriculum:
    """The levels of every mix one after the other, each blending into the next.

    A mix keeps its share of the tokens, whatever the level. At the beginning all of it is its
    lowest level, then the mean rises steadily, and after `updates` all of it is the highest level.

    Args:
        updates: of the optimizer until the highest level is reached.
        hold: updates at the beginning during which the lowest level stays.
    """

    updates: Count
    hold: CountOrNone = 0

    def __post_init__(self) -> None:
        """Refuses lengths that are none."""
        check_knobs(Curriculum, vars(self))
        if self.hold >= self.updates:
            raise UserError(
                f"curriculum: updates {self.updates} and hold {self.hold}: hold must be below "
                "updates."
            )

    def at(self, shares: Floats, levels: Sequence[Sequence[int]], progress: float) -> Floats:
        """Shares (L,) at a point of the rise.

        Args:
            shares: (L,) without a curriculum.
            levels: for each mix the numbers of its languages, from the lowest level on.
            progress: 0 at the lowest level, 1 at the highest.
        """
        result = shares.copy()
        for own in levels:
            place = progress * (len(own) - 1)
            near = np.maximum(0.0, 1.0 - np.abs(np.arange(len(own)) - place))
            result[list(own)] = shares[list(own)].sum() * near / near.sum()
        return result

    def table(
        self, shares: Floats, levels: Sequence[Sequence[int]], batches_per_pool: float
    ) -> Floats:
        """Shares (K, L) in each of the first K pools of the plan; later ones are like the last.

        Args:
            shares: (L,) without a curriculum.
            levels: as in `at`.
            batches_per_pool: about how many updates a pool is fed in.
        """
        pools = max(math.ceil(self.updates / batches_per_pool), 1) + 1
        middles = (np.arange(pools) + 0.5) * batches_per_pool
        progress = np.clip((middles - self.hold) / (self.updates - self.hold), 0.0, 1.0)
        progress[-1] = 1.0
        return np.stack([self.at(shares, levels, one) for one in progress.tolist()])
