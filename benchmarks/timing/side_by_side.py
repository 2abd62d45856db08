"""Candidates of one workload, measured in interleaved rounds of random order."""

from __future__ import annotations

import functools
import importlib
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from timing.workers import Failure, Step, Worker, elsewhere


@dataclass(frozen=True)
class Candidate:
    """One way to make a step.

    Attributes:
        build: the step, of a workload.
        note: what a reader of the table has to know.
        package: the published one that it is, which ours is compared with; "" where it is none.
        other_loss: whether its loss is another one by design.
        offset: what its formula adds to the reference, in float64; None: nothing.
    """

    build: Callable[[Any], Step]
    note: str = ""
    package: str = ""
    other_loss: bool = False
    offset: Callable[[Any], float] | None = None

    @property
    def peer(self) -> bool:
        """Whether ours is compared with it."""
        return self.package != ""


def peer(package: str, module: str, function: str, note: str = "", **others: Any) -> Candidate:
    """A candidate from a package that not everybody has: its worker alone imports it.

    Args:
        package: to be imported.
        module: ours that drives it.
        function: of that module; makes the step.
        note: see `Candidate`.
        others: see `Candidate`.
    """

    def build(work: Any) -> Step:
        step: Step = getattr(importlib.import_module(module), function)(work)
        return step

    return Candidate(build, note, package, **others)


@dataclass(frozen=True)
class Limits:
    """What ours has to show: steps over the floor's, and whether peers are to be beaten twice."""

    over_floor: float | None = None
    twice: bool = False


@dataclass(frozen=True)
class Suite:
    """A workload and its candidates, "floor" and "ours" among them.

    Attributes:
        name: for the table and for choosing it.
        work: the workload.
        tiny: a small one of the same kind.
        candidates: by name.
        reference: the loss of the first step in float64, by a formula that is not ours; None: there
            is none.
        limits: what ours has to show.
        sizes: one line about shapes.
    """

    name: str
    work: Any
    tiny: Any
    candidates: Mapping[str, Candidate]
    reference: Callable[[Any], float] | None
    limits: Limits = Limits()
    sizes: str = ""


@dataclass
class Row:
    """What was measured of one candidate; the fields of `Candidate` and `Start`."""

    note: str
    peer: bool
    other_loss: bool
    failure: str = ""
    loss: float | None = None
    peak: float | None = None
    offset: float = 0.0
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


@dataclass
class Measured:
    """A suite's numbers."""

    name: str
    sizes: str
    over_floor: float | None
    twice: bool
    reference: float | None
    rows: dict[str, Row]

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)

    @classmethod
    def of_json(cls, node: dict[str, Any]) -> Measured:
        """From a file."""
        return cls(**{**node, "rows": {name: Row(**row) for name, row in node["rows"].items()}})


def measure(
    suite: Suite, rounds: int, device: str, chosen: list[str] | None = None, seed: int = 0
) -> Measured:
    """Starts a worker for each candidate and times them in turn.

    Args:
        suite: the workload.
        rounds: timed steps of each candidate.
        device: "cpu" or "cuda".
        chosen: names of candidates; None: all.
        seed: of the order within rounds.
    """
    names = [n for n in suite.candidates if chosen is None or n in chosen or n == "floor"]
    rows: dict[str, Row] = {}
    workers: dict[str, Worker] = {}
    reference = None
    if suite.reference is not None:
        reference = elsewhere(functools.partial(suite.reference, suite.work))
    try:
        for name in names:
            candidate = suite.candidates[name]
            row = rows[name] = Row(candidate.note, candidate.peer, candidate.other_loss)
            if candidate.offset is not None:
                row.offset = elsewhere(functools.partial(candidate.offset, suite.work))
            worker = Worker(candidate.build, suite.work, suite.tiny, device)
            if isinstance(worker.start, Failure):
                row.failure = worker.start.reason
                worker.close()
                continue
            workers[name] = worker
            row.loss, row.peak = worker.start.loss, worker.start.peak
        _time(workers, rows, rounds, random.Random(seed))
    finally:
        for worker in workers.values():
            worker.close()
    limits = suite.limits
    return Measured(suite.name, suite.sizes, limits.over_floor, limits.twice, reference, rows)


def _time(
    workers: Mapping[str, Worker], rows: Mapping[str, Row], rounds: int, order: random.Random
) -> None:
    """Fills in the times of interleaved rounds."""
    for _ in range(rounds):
        for name in order.sample(list(workers), len(workers)):
            times = workers[name].step()
            rows[name].cpu.append(times.cpu)
            rows[name].wall.append(times.wall)
