"""Which faults are injected: a table drawn from one seed."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from faults.disk_kinds import DiskFull, FilesTooLarge, ReadOnly
from faults.kinds import (
    TRAINING,
    VALIDATION,
    Damaged,
    Fault,
    Killed,
    NoNumber,
    Signalled,
    WorkersKilled,
)

SEED = 3
METHODS = ("TripleLoss", "MaskedLM")
DEPENDENT = "DistiLLM"
"""A method whose training depends on what validations find."""


@dataclass(frozen=True)
class Injection:
    """A fault in a run of one method with so many loader workers and ranks."""

    fault: Fault
    method: str
    workers: int
    ranks: int

    def __str__(self) -> str:
        kind = f"{self.fault.name}: {self.fault.where}"
        return f"{kind}, {self.method}, {self.workers} workers, {self.ranks} ranks"


def planned() -> list[Injection]:
    """All injections, in the order of the table."""
    return list(_planned(random.Random(SEED)))


def everyday(injections: list[Injection]) -> set[Injection]:
    """Those of every test run: the last of each kind, and of a kill with two ranks."""
    last = {(type(one.fault), one.ranks): one for one in injections}
    return {one for (kind, ranks), one in last.items() if ranks == 1 or kind is Killed}


def _planned(draw: random.Random) -> Iterator[Injection]:
    for method, workers, ranks in product(METHODS, (0, 2), (1, 2)):
        steps = 24 // ranks  # micro-batches of a rank
        anyone = draw.randrange(ranks)
        for fault in (
            Killed("micro-batch", draw.randrange(steps // 4), anyone),
            Killed("micro-batch", draw.randrange(steps // 4, steps // 2), anyone),
            Killed("micro-batch", draw.randrange(steps // 2, steps), anyone),
            Killed("validation batch", draw.randrange(6 // ranks), anyone),
            Killed("half of checkpoint", draw.randrange(8)),
            Killed("before rename", draw.randrange(20)),
            Killed("after rename", draw.randrange(20)),
            Signalled(signal.SIGTERM, TRAINING, draw.randrange(steps // 2), anyone),
        ):
            yield Injection(fault, method, workers, ranks)
    for method, ranks in product(METHODS, (1, 2)):
        steps = 24 // ranks
        for fault in (
            Signalled(signal.SIGINT, TRAINING, draw.randrange(steps // 2), draw.randrange(ranks)),
            WorkersKilled(TRAINING, draw.randrange(steps // 2), draw.randrange(ranks)),
        ):
            yield Injection(fault, method, 2, ranks)
        for fault in (
            Damaged(draw.choice(("truncated", "empty")), draw.randrange(steps // 2, steps)),
            Damaged("one bit flipped", draw.randrange(steps // 2, steps)),
            DiskFull(draw.randrange(steps // 4, steps)),
            NoNumber((7, 8, 9), rank=draw.randrange(ranks)),
            NoNumber((draw.randrange(2, 6),), steps * 3 // 4, draw.randrange(ranks)),
        ):
            yield Injection(fault, method, 0, ranks)
    for method in METHODS:
        for fault in (
            Killed("before rename of a folder", 2),
            Damaged("zeros in the middle", draw.randrange(12, 24)),
            FilesTooLarge(draw.randrange(12, 15), draw.randrange(16, 18)),  # a save, no validation
            FilesTooLarge(draw.randrange(6, 20)),
            ReadOnly(),
            ReadOnly(draw.randrange(6, 20)),
            WorkersKilled(VALIDATION, draw.randrange(4)),
            Signalled(signal.SIGTERM, VALIDATION, draw.randrange(4)),
        ):
            workers = 2 if isinstance(fault, WorkersKilled) else 0
            yield Injection(fault, method, workers, 1)
    for fault in _around_validations():
        yield Injection(fault, DEPENDENT, 0, 1)
    for fault in (
        Signalled(signal.SIGTERM, TRAINING, 2, draw.randrange(2)),
        Signalled(signal.SIGTERM, TRAINING, 11, draw.randrange(2)),
        Signalled(signal.SIGTERM, VALIDATION, 4, draw.randrange(2)),
        Killed("micro-batch", 5, draw.randrange(2)),
        Killed("validation batch", 7, draw.randrange(2)),
        Killed("validation batch", 0, draw.randrange(2)),
    ):
        yield Injection(fault, DEPENDENT, 0, 2)


def _around_validations() -> Iterator[Fault]:
    """Stops in validations, in the updates before them, and in the last update."""
    for micro_batch in (5, 11, 17, 23):
        yield Killed("micro-batch", micro_batch)
        yield Signalled(signal.SIGTERM, TRAINING, micro_batch)
    yield Killed("before rename of a folder", 0)
    for batch in (14, 9, 6, 1):  # four a validation
        yield Killed("validation batch", batch)
        yield Signalled(signal.SIGTERM, VALIDATION, batch)
    yield Killed("after checkpoint", 3)  # of update 9, before its validation
    yield Killed("after checkpoint", 5)  # of update 12, after the last validation
    yield Killed("after checkpoint", 4)  # of update 9, which becomes the best
