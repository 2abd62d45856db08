"""Set in a child before it begins: what is to go wrong, and when."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from faults.runs import PATIENCE, Trap

from lit_distill.models import Encoded, LanguageModel
from lit_distill.training.distillation import Distillation

Act = Callable[..., None]


def sabotage(of: Any, name: str, at: int, act: Act, rank: int = 0, after: bool = False) -> Trap:
    """On one rank the `at`-th call (from 0) of a function acts before, or after, its work."""

    def set_trap() -> None:
        if os.environ["RANK"] != str(rank):
            return
        real, calls = getattr(of, name), iter(range(10**6))

        def trapped(*arguments: Any, **options: Any) -> Any:
            due = next(calls) == at
            if due and not after:
                act(*arguments)
            result = real(*arguments, **options)
            if due and after:
                act(*arguments)
            return result

        setattr(of, name, trapped)

    return set_trap


def kill(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_workers(*_: Any) -> None:
    for worker in multiprocessing.active_children():
        assert worker.pid
        os.kill(worker.pid, signal.SIGKILL)


def write_half_and_die(_: dict[str, Any], file: Any) -> None:
    file.write(b"half")
    file.flush()
    kill()


class Meeting:
    """Where a child waits until its parent has done something."""

    def __init__(self, place: Path) -> None:
        self._reached, self._done = place.with_suffix(".reached"), place.with_suffix(".done")

    def child(self, *_: Any) -> None:
        self._reached.touch()
        _wait_for(self._done)

    def parent(self, act: Callable[[], None]) -> None:
        _wait_for(self._reached)
        act()
        self._done.touch()


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not come"
        time.sleep(0.01)


def no_number_at(updates: Iterable[int], rank: int = 0) -> Trap:
    """On one rank the student's states, and so its loss, are NaN in these updates (from 1)."""
    chosen = set(updates)

    def set_trap() -> None:
        step, encode = Distillation.training_step, LanguageModel.encode
        due = False

        def noting(self: Distillation, *arguments: Any) -> Any:
            nonlocal due
            due = self.global_step + 1 in chosen and os.environ["RANK"] == str(rank)
            return step(self, *arguments)

        def spoiling(self: LanguageModel, *arguments: Any, **options: Any) -> Encoded:
            encoded = encode(self, *arguments, **options)
            if due and self.training:
                return replace(encoded, hidden=encoded.hidden * float("nan"))
            return encoded

        Distillation.training_step = noting  # type: ignore[method-assign]
        LanguageModel.encode = spoiling  # type: ignore[method-assign]

    return set_trap
