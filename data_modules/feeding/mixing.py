"""Which task the batches of a mixture are of, and what they say about it.

Every batch is of one task, drawn by shares from random numbers that are a function of the seed and
of the batch's position alone; within a task the order is its own plan's. Windows are numbered
through all tasks: those of the first come first.

K tasks, B windows of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data_modules.feeding.collation import Collate
from data_modules.feeding.plan import Ints, Plan
from lit_distill.batch import LabelledBatch
from lit_distill.counter_random import Purpose, key, uniform, words
from lit_distill.task_batches import of_task

BLOCK = 4096
"""Positions that are drawn together."""


@dataclass(frozen=True)
class Member:
    """The place of a corpus in a mixture.

    Attributes:
        task: its name.
        tasks: names of all.
        languages: (L,) the mixture's number of each of its languages.
    """

    task: str
    tasks: Sequence[str]
    languages: Ints

    def collator(self, own: Collate[LabelledBatch]) -> Collate[LabelledBatch]:
        """Makes the batches that another makes, as those of the mixture."""
        return _OfTask(own, self)


@dataclass(frozen=True)
class _OfTask:
    """Names the task of a batch, and numbers its languages as the mixture does."""

    own: Collate[LabelledBatch]
    member: Member

    def __call__(self, windows: Ints, passes: Ints) -> LabelledBatch:
        batch = self.own(windows, passes)
        batch["language"] = torch.from_numpy(self.member.languages)[batch["language"]]
        batch["counts"].setdefault("teacher_tokens", 0)  # that tasks with a view count
        return of_task(batch, self.member.task, self.member.tasks)


@dataclass(frozen=True)
class MixedCollator:
    """Makes the batch of whichever task its windows are of.

    Args:
        each: of every task.
        firsts: (K,) number of its first window.
    """

    each: Sequence[Collate[LabelledBatch]]
    firsts: Ints

    def __call__(self, windows: Ints, passes: Ints) -> LabelledBatch:
        """The batch of these windows (B,), all of one task, each in its pass (B,)."""
        task = int(np.searchsorted(self.firsts, windows[0], side="right")) - 1
        return self.each[task](windows - self.firsts[task], passes)


class MixedPlan:
    """The order of all training batches of a mixture: see `Plan`.

    Args:
        plans: of every task by name.
        sizes: (K,) windows of each.
        shares: (K,) probability that a batch is of each; they add up to one.
        seed: of the draws.
    """

    def __init__(
        self, plans: Mapping[str, Plan], sizes: Ints, shares: NDArray[np.float64], seed: int
    ) -> None:
        self.plans, self.shares, self.seed = dict(plans), shares, seed
        self.firsts: Ints = np.cumsum(sizes) - sizes
        self._before = [np.zeros(len(self.plans), dtype=np.int64)]  # block by block
        self._drawn: tuple[int, Ints] = 0, self.tasks(0, BLOCK)

    def tasks(self, start: int, stop: int) -> Ints:
        """Numbers of the tasks of the batches start..stop-1."""
        drawn = uniform(words(key(self.seed, Purpose.TASK), np.arange(start, stop)))
        bounds = np.cumsum(self.shares)[:-1]
        return np.searchsorted(bounds, drawn, side="right")

    def batch(self, position: int) -> tuple[Ints, Ints]:
        """Window numbers and pass numbers of the global batch `position`."""
        block, inside = divmod(position, BLOCK)
        counts = self._counted(position)
        task = int(self._block(block)[inside])
        windows, passes = [*self.plans.values()][task].batch(int(counts[task]))
        return windows + self.firsts[task], passes

    def locate(self, position: int) -> tuple[list[int], list[int]]:
        """Of every task the pool that is due at a global batch, and the position of its start."""
        counts = zip(self.plans.values(), self._counted(position).tolist(), strict=True)
        pools, starts = zip(*(plan.locate(count) for plan, count in counts), strict=True)
        return list(pools), list(starts)

    def jump(self, pools: Sequence[int], starts: Sequence[int]) -> None:
        """Goes on from what `locate` once returned."""
        for plan, pool, start in zip(self.plans.values(), pools, starts, strict=True):
            plan.jump(pool, start)

    def identity(self) -> Mapping[str, int | str]:
        """What the order depends on, as plain values."""
        own = {f"{n}/{k}": v for n, plan in self.plans.items() for k, v in plan.identity().items()}
        shares = " ".join(f"{share:.12g}" for share in self.shares)
        return {"mixture seed": self.seed, "shares of tasks": shares, **own}

    def _counted(self, position: int) -> Ints:
        """Batches (K,) of every task before a position."""
        block, inside = divmod(position, BLOCK)
        while len(self._before) <= block:
            last = len(self._before) - 1
            self._before.append(self._before[last] + self._bincount(self._block(last)))
        return self._before[block] + self._bincount(self._block(block)[:inside])

    def _bincount(self, drawn: Ints) -> Ints:
        return np.bincount(drawn, minlength=len(self.plans)).astype(np.int64)

    def _block(self, number: int) -> Ints:
        """The tasks of one block; the latest one is kept."""
        if self._drawn[0] != number:
            self._drawn = number, self.tasks(number * BLOCK, (number + 1) * BLOCK)
        return self._drawn[1]
