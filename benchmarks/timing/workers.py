"""One process for each candidate, forked, so that none sees another's memory, patches or threads.

A worker first runs the candidate at a tiny size, which loads code and fills caches, then builds it
at the real size and measures the memory of its first steps; after that it makes steps on request.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import platform
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import torch

from timing.loops import LoopSteps

FORK = multiprocessing.get_context("fork")
MEMORY_STEPS = 3
"""Steps whose highest memory counts: gradients and optimizer states are there from the second."""

PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>

ValueT = TypeVar("ValueT")

Step = Callable[[], float]
"""One training step; its loss."""


@dataclass(frozen=True)
class Start:
    """What a worker found out at its start.

    Attributes:
        loss: of the first step.
        peak: MiB above what was resident before the first step, models included there.
    """

    loss: float
    peak: float


@dataclass(frozen=True)
class Times:
    """Milliseconds of a step: CPU time of all threads (on a GPU the wall's), and on the wall."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Failure:
    """Why a candidate does not run."""

    reason: str


class Worker:
    """A candidate in a process of its own.

    Args:
        build: makes the candidate of the workload that it is given.
        work: the workload.
        tiny: a small one of the same kind.
        device: "cpu" or "cuda".
    """

    def __init__(self, build: Callable[[Any], Step], work: Any, tiny: Any, device: str) -> None:
        self._pipe, theirs = FORK.Pipe()
        self._process = FORK.Process(
            target=_serve, args=(theirs, build, work, tiny, device), daemon=True
        )
        self._process.start()
        theirs.close()
        self.start: Start | Failure = self._receive()

    def step(self) -> Times:
        """One step.

        Raises:
            RuntimeError: the candidate failed.
        """
        self._pipe.send("step")
        answer: Times | Failure = self._receive()
        if isinstance(answer, Failure):
            raise RuntimeError(answer.reason)
        return answer

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.join()

    def _receive(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            return Failure(f"its process ended with exit code {self._process.exitcode}")


def elsewhere(function: Callable[[], ValueT]) -> ValueT:
    """The function's value, from a process that takes its memory, and its GPU, away with it."""
    mine, theirs = FORK.Pipe()
    process = FORK.Process(target=lambda: theirs.send(function()))
    process.start()
    theirs.close()
    try:
        value: ValueT = mine.recv()
        return value
    finally:
        process.join()


def _serve(
    pipe: Connection, build: Callable[[Any], Step], work: Any, tiny: Any, device: str
) -> None:
    """What a worker does until it is killed, or its parent is (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        with tempfile.TemporaryFile() as nowhere:  # progress bars and warnings of all kinds
            for descriptor in (1, 2):
                os.dup2(nowhere.fileno(), descriptor)
            rehearsal = build(tiny)
            rehearsal()
            if isinstance(rehearsal, LoopSteps):
                rehearsal.close()
            del rehearsal
            step = build(work)
            pipe.send(_first_steps(step, device))
            while pipe.recv() == "step":
                pipe.send(_timed(step, device))
    except BaseException as error:
        (last, *_) = traceback.format_exception_only(error)
        pipe.send(Failure(" ".join(last.split())[:300]))


def _first_steps(step: Step, device: str) -> Start:
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        losses = [step() for _ in range(MEMORY_STEPS)]
        return Start(losses[0], (torch.cuda.max_memory_allocated() - before) / 2**20)
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew (Linux)
    resident = _mebibytes("VmRSS")
    losses = [step() for _ in range(MEMORY_STEPS)]
    return Start(losses[0], _mebibytes("VmHWM") - resident)


def _timed(step: Step, device: str) -> Times:
    if device == "cuda":
        torch.cuda.synchronize()
    cpu, wall = time.process_time(), time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    elapsed = 1e3 * (time.perf_counter() - wall)
    return Times(elapsed if device == "cuda" else 1e3 * (time.process_time() - cpu), elapsed)


def _mebibytes(field: str) -> float:
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) / 1024
