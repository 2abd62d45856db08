"""The faults: each harms a run, and checks how its processes ended and what they said."""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from faults.configs import UPDATES
from faults.runs import HANGS, Run, Trap
from faults.traps import (
    Meeting,
    kill,
    kill_workers,
    no_number_at,
    sabotage,
    write_half_and_die,
)
from safetensors import safe_open

import callbacks.saving.checkpoint_io
from callbacks import AtomicCheckpointIO
from lit_distill.training.distillation import Distillation

TRAINING = (Distillation, "training_step")
VALIDATION = (Distillation, "validation_step")
KILLED = -signal.SIGKILL
REFUSED = 2  # exit code of what the user has to change


@dataclass(frozen=True)
class Fault(ABC):
    """One way to harm a run.

    Attributes:
        name: of the kind.
        on_small_disk: the run folder is a file system of its own, which can be filled and locked.
    """

    name: ClassVar[str]
    on_small_disk: ClassVar[bool] = False

    def spoilt(self, kept: int) -> tuple[int, ...]:
        """Updates that a run without the fault has to leave out to end equal.

        Args:
            kept: updates in the newest checkpoint after the fault.
        """
        return ()

    def redone(self, kept: int) -> tuple[int, ...]:
        """Updates that went otherwise before the stop than after it, by `spoilt`'s argument."""
        return ()

    def lasting(self) -> list[Trap]:
        """What is still wrong when the run is resumed."""
        return []

    @property
    @abstractmethod
    def where(self) -> str:
        """The place, for the table."""

    @abstractmethod
    def strike(self, run: Run) -> list[int]:
        """Starts the run and harms it; the exit codes by rank."""


def said_how_to_go_on(text: str) -> bool:
    return "--ckpt_path last" in text and "Traceback" not in text


@dataclass(frozen=True)
class Killed(Fault):
    """kill -9 of one rank; the others have to end by themselves and say how to go on."""

    name = "kill -9"
    moment: str
    at: int
    rank: int = 0

    MOMENTS: ClassVar[dict[str, tuple[Any, str, Callable[..., None], bool]]] = {
        "micro-batch": (*TRAINING, kill, False),
        "validation batch": (*VALIDATION, kill, False),
        "half of checkpoint": (
            callbacks.saving.checkpoint_io.torch,
            "save",
            write_half_and_die,
            False,
        ),
        "after checkpoint": (AtomicCheckpointIO, "save_checkpoint", kill, True),
        "before rename": (os, "replace", kill, False),
        "after rename": (os, "replace", kill, True),
        "before rename of a folder": (Path, "rename", kill, False),
    }

    @property
    def where(self) -> str:
        return f"{self.moment} {self.at}, rank {self.rank}"

    def strike(self, run: Run) -> list[int]:
        of, name, act, after = self.MOMENTS[self.moment]
        codes = run.work(run.fit(), sabotage(of, name, self.at, act, self.rank, after))
        assert codes[self.rank] == KILLED, run.output()
        for rank, code in enumerate(codes):
            if rank != self.rank:
                assert code not in (0, HANGS), run.output(rank)
                assert not run.saved or said_how_to_go_on(run.output(rank)), run.output(rank)
        return codes


@dataclass(frozen=True)
class Signalled(Fault):
    """SIGTERM or SIGINT to one rank (and the workers of a single one, as Ctrl-C does)."""

    name = "signal"
    number: signal.Signals
    of: tuple[Any, str]
    at: int
    rank: int = 0

    @property
    def where(self) -> str:
        place = "micro-batch" if self.of == TRAINING else "validation batch"
        return f"{self.number.name}, {place} {self.at}, rank {self.rank}"

    def strike(self, run: Run) -> list[int]:
        meeting = Meeting(run.config)
        children = run.start(run.fit(), sabotage(*self.of, self.at, meeting.child, self.rank))
        meeting.parent(lambda: os.killpg(children[self.rank], self.number))
        codes = run.wait(children)
        assert codes == [128 + self.number] * run.ranks, run.output()
        assert said_how_to_go_on(run.output()), run.output()
        return codes


@dataclass(frozen=True)
class Damaged(Fault):
    """The newest checkpoint is broken after a kill: the one before it is taken, and said to be."""

    name = "corrupt newest"
    how: str
    at: int

    @property
    def where(self) -> str:
        return f"{self.how}; killed at micro-batch {self.at}"

    def strike(self, run: Run) -> list[int]:
        codes = run.work(run.fit(), sabotage(*TRAINING, self.at, kill))
        newest = run.checkpoints / "last.ckpt"
        content = bytearray(newest.read_bytes())
        half = len(content) // 2
        if self.how == "truncated":
            content = content[:half]
        elif self.how == "empty":
            content = bytearray()
        elif self.how == "zeros in the middle":
            content[half : half + 4096] = bytes(4096)
        else:
            content[half] ^= 1
        newest.unlink()  # other names of the same file are the ones to fall back to
        newest.write_bytes(content)
        run.config.with_suffix(".saves").write_text(f"{run.kept}\n")
        return codes


@dataclass(frozen=True)
class NoNumber(Fault):
    """The loss of some updates is NaN on one rank; too many in a row stop the run."""

    name = "NaN loss"
    updates: tuple[int, ...]
    killed_at: int | None = None
    rank: int = 0

    @property
    def where(self) -> str:
        then = "stops the run" if self.killed_at is None else f"kill -9 at {self.killed_at}"
        return f"updates {', '.join(map(str, self.updates))}, rank {self.rank}; {then}"

    def spoilt(self, kept: int) -> tuple[int, ...]:
        if self.killed_at is not None:
            return self.updates
        return tuple(update for update in self.updates if update <= kept)

    def redone(self, kept: int) -> tuple[int, ...]:
        return tuple(sorted({*self.updates} - {*self.spoilt(kept)}))

    def lasting(self) -> list[Trap]:
        return [] if self.killed_at is None else [no_number_at(self.updates, self.rank)]

    def strike(self, run: Run) -> list[int]:
        traps: list[Trap] = [no_number_at(self.updates, self.rank)]
        if self.killed_at is not None:
            traps.append(sabotage(*TRAINING, self.killed_at, kill))
        codes = run.work(run.fit(), *traps)
        assert f"Update {self.updates[0]} was left out" in run.output(0), run.output()
        if self.killed_at is None:
            assert codes == [REFUSED] * run.ranks, run.output()
            assert said_how_to_go_on(run.output()), run.output()
            for rank in range(run.ranks):
                name = f"non_finite/update_{self.updates[-1]}_rank_{rank}.safetensors"
                assert name in run.output(rank)
                with safe_open(run.folder / name, "pt") as file:
                    assert torch.is_tensor(file.get_tensor("0/input_ids"))
        return codes


@dataclass(frozen=True)
class WorkersKilled(Fault):
    """All processes that load data are killed on one rank; others take over."""

    name = "dead loader workers"
    of: tuple[Any, str]
    at: int
    rank: int = 0

    @property
    def where(self) -> str:
        place = "micro-batch" if self.of == TRAINING else "validation batch"
        return f"{place} {self.at}, rank {self.rank}"

    def strike(self, run: Run) -> list[int]:
        codes = run.work(run.fit(), sabotage(*self.of, self.at, kill_workers, self.rank))
        assert not any(codes), run.output()
        assert run.kept == UPDATES
        assert "others go on in its place" in run.output(self.rank), run.output()
        return codes
