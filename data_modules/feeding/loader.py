"""Feeds planned batches to the Trainer, resumable at every update, the same for any split.

A accumulation steps, W ranks (world size), u the number of the update since the run began. Update u
uses the global batches u*A*W ... (u+1)*A*W - 1 of the plan; rank r gets number u*A*W + m*W + r as
its micro-batch m. So an update is made of the same batches for every split with the same A*W.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Protocol

import numpy as np
from lightning.pytorch import Trainer
from numpy.typing import NDArray

from data_modules.feeding.collation import Collate
from data_modules.feeding.plan import EvaluationPlan
from data_modules.feeding.prefetching import Request, prefetched
from lit_distill.batch import Batch
from lit_distill.errors import UserError


class Order(Protocol):
    """The training order: a `Plan`, or that of several."""

    def batch(self, position: int) -> Request:
        """Window numbers and pass numbers of a global batch."""

    def locate(self, position: int) -> tuple[Any, Any]:
        """Plain values from which `jump` goes on at a global batch."""

    def jump(self, pool: Any, start: Any, /) -> None:
        """Goes on from what `locate` once returned."""

    def identity(self) -> Mapping[str, int | str]:
        """What the order depends on, as plain values."""


@dataclass(frozen=True)
class _TrainingRequests:
    """One rank's endless stream of requests from its micro-batch `first` on."""

    plan: Order
    first: int
    rank: int
    world_size: int

    def __iter__(self) -> Iterator[Request]:
        for step in count(self.first):
            yield self.plan.batch(step * self.world_size + self.rank)

    def after(self, done: int) -> _TrainingRequests:
        """What is left of the stream when `done` of its batches have been handed out."""
        return replace(self, first=self.first + done)


class WindowLoader:
    """Training batches: a sized iterable whose position is saved and restored exactly.

    It is no `DataLoader`, so that Lightning puts no sampler of its own into it. An epoch is a fixed
    number of updates; each `iter` goes on where the last one stopped, with an epoch of full length.
    Workers keep prefetching over the epoch's edge, and what they prefetched is not counted: only
    batches that were handed out are. With accumulation, the first micro-batch of an update carries
    all of them under `window`.

    Lightning restores loaders only in unfinished epochs: a data module has to keep `state_dict` in
    its own state too and to call `load_state_dict` on the loader it makes, so that a checkpoint
    taken at the end of an epoch goes on as well.

    Args:
        plan: the order of all batches, the same on every rank.
        collate: makes a batch; it must do the same in every process.
        updates_per_epoch: optimizer updates in an epoch.
        accumulation: micro-batches per update and rank (`trainer.accumulate_grad_batches`).
        rank: of this process.
        world_size: processes that train on different batches.
        num_workers: processes that collate; 0 collates in this one. The batches are the same.
            Receiving a batch costs this process about as much as making it, so workers help only
            where windows are slow to read.
        identity: further plain values that a resumed run must share (fingerprints, settings).
    """

    def __init__(
        self,
        plan: Order,
        collate: Collate[Batch],
        updates_per_epoch: int,
        accumulation: int = 1,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        identity: Mapping[str, int | float | str] | None = None,
    ) -> None:
        for name, value in (
            ("updates_per_epoch", updates_per_epoch),
            ("accumulation", accumulation),
        ):
            if value < 1:
                raise UserError(f"{name} must be at least 1, found {value}.")
        if not 0 <= rank < world_size:
            raise UserError(f"rank {rank} does not exist among {world_size} processes.")
        self._plan, self._collate = plan, collate
        self._updates_per_epoch, self._accumulation = updates_per_epoch, accumulation
        self._rank, self._world_size = rank, world_size
        self._num_workers = num_workers
        self._identity: dict[str, int | float | str] = {
            "updates_per_epoch": updates_per_epoch,
            "accumulation": accumulation,
            "world_size": world_size,
            **plan.identity(),
            **(identity or {}),
        }
        self._update = self._in_epoch = self._micro = 0
        self._resumed = False
        # Under this name Lightning finds and drops it, with its workers, when the run ends.
        self._iterator: Iterator[Batch] | None = None

    def __len__(self) -> int:
        """Micro-batches of this rank in an epoch."""
        return self._updates_per_epoch * self._accumulation

    def __iter__(self) -> Iterator[Batch]:
        # Nothing happens before the first `next`: Lightning asks for iterators it never uses.
        if not self._resumed:
            self._in_epoch = 0
        if self._micro:  # the last epoch was cut short inside a window: that update is over
            self._update, self._micro = self._update + 1, 0
        self._resumed = False
        for _ in range(self._in_epoch, self._updates_per_epoch):
            if self._iterator is None:
                self._iterator = self._stream()
            window = [next(self._iterator) for _ in range(self._accumulation)]
            batches = list(window)
            if self._accumulation > 1:
                batches[0] = Batch(**window[0], window=window)
            for batch in batches:
                self._advance()  # before the yield: after the epoch's last one nothing runs
                yield batch

    def state_dict(self) -> dict[str, Any]:
        """Where the run is, and what its order depends on; plain values, equal on all ranks."""
        pool, start = self._plan.locate(self._update * self._accumulation * self._world_size)
        return {
            "update": self._update,
            "update_in_epoch": self._in_epoch,
            "micro": self._micro,
            "pool": pool,
            "pool_start": start,
            "identity": dict(self._identity),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a saved position.

        Raises:
            UserError: the order would be another than in the saved run, or the checkpoint was
                written inside an accumulation window, whose gradients are lost.
        """
        self._check_identity(state["identity"])
        if state["micro"]:
            raise UserError(
                f"The checkpoint was written after {state['micro']} of {self._accumulation} "
                "micro-batches of an update, whose gradients it does not hold: resume from one "
                "that was written between updates."
            )
        self._update, self._in_epoch, self._micro = state["update"], state["update_in_epoch"], 0
        self._plan.jump(state["pool"], state["pool_start"])
        self._resumed, self._iterator = True, None

    def _check_identity(self, saved: Mapping[str, Any]) -> None:
        changed = [
            f"{name} was {_short(saved.get(name))} and is now {_short(self._identity.get(name))}"
            for name in {**saved, **self._identity}
            if saved.get(name) != self._identity.get(name)
        ]
        if changed:
            raise UserError(
                f"The run cannot be resumed on another order of batches: {'; '.join(changed)}. "
                "Restore what was changed, or start a new run from the saved student."
            )

    def _advance(self) -> None:
        self._micro += 1
        if self._micro == self._accumulation:
            self._micro, self._update = 0, self._update + 1
            self._in_epoch = (self._in_epoch + 1) % self._updates_per_epoch

    def _stream(self) -> Iterator[Batch]:
        first = self._update * self._accumulation
        requests = _TrainingRequests(self._plan, first, self._rank, self._world_size)
        # not a function of `self`: in a cycle, workers would live until the garbage is collected
        return prefetched(self._collate, requests.after, self._num_workers)


class EvaluationLoader:
    """Validation or test batches: every window once over all ranks, always the same masks.

    Args:
        plan: the fixed batches; made for a multiple of `world_size`.
        collate: makes a batch.
        rank: of this process; it gets batches rank, rank + world_size, ...
        world_size: processes that share the work.
        num_workers: processes that collate.
    """

    def __init__(
        self,
        plan: EvaluationPlan,
        collate: Collate[Batch],
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
    ) -> None:
        self._collate, self._num_workers = collate, num_workers
        self._requests = [
            (windows, np.zeros_like(windows)) for windows in plan.batches[rank::world_size]
        ]

    def __len__(self) -> int:
        """Batches of this rank."""
        return len(self._requests)

    def __iter__(self) -> Iterator[Batch]:
        requests = self._requests
        return prefetched(self._collate, lambda done: requests[done:], self._num_workers)


def evaluation_loaders(
    groups: NDArray[Any],
    lengths: NDArray[Any],
    collate: Collate[Any],
    budget: int,
    trainer: Trainer,
    most: int | None,
) -> list[EvaluationLoader]:
    """A loader for every language that has a window.

    Args:
        groups: (W,) the language of every window.
        lengths: (W,) its tokens.
        collate: makes a batch.
        budget: most positions of a batch, padding included.
        trainer: says which rank this is of how many.
        most: windows of each language, evenly spread; None: all.
    """
    rank, ranks, loaders = trainer.global_rank, trainer.world_size, []
    for number in np.unique(groups).tolist():
        windows = np.flatnonzero(groups == number)
        if most is not None and len(windows) > most:
            windows = windows[np.arange(most) * len(windows) // most]
        plan = EvaluationPlan(windows, lengths[windows], budget, ranks)
        loaders.append(EvaluationLoader(plan, collate, rank, ranks))
    return loaders


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
