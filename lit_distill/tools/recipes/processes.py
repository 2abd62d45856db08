"""Commands in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from lit_distill.cli.parsing import modules
from lit_distill.cli.parsing.options import OPTION

WARM = ("callbacks", "data_modules", "lightning.pytorch.cli", "lit_distill.methods")
INTERRUPTED = (130, 143, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of a command that was told to stop."""


def execute(args: list[str]) -> int:
    """Runs one command in a process of its own, which has the terminal.

    Returns:
        Its exit code; that of a signal is negative.
    """
    process = prepared(args)
    with patience(process.terminate, lambda: None):
        process.start()
        process.join()
    return int(process.exitcode)


def prepared(args: list[str], log: Path | None = None, threads: int | None = None) -> Any:
    """A process of `multiprocessing` that will run one command.

    Without a GPU the process is forked off this one, which has imported everything already (about
    ten seconds that no stage pays); CUDA does not survive a fork.

    Args:
        args: of the command line.
        log: the file that gets all output, anew; None: the terminal does.
        threads: that it may compute with; None: as many as it likes.
    """
    import torch

    forks = sys.platform == "linux" and not torch.cuda.is_available()
    for name in WARM if forks else ():
        import_module(name)
    context: Any = multiprocessing.get_context("fork" if forks else "spawn")
    return context.Process(target=_command, args=(args, log, threads))


@contextmanager
def patience(end: Callable[[], None], note: Callable[[], None]) -> Iterator[None]:
    """Leaves Ctrl-C to the commands, which save and stop, and hands SIGTERM on to them.

    Args:
        end: sends SIGTERM to all of them.
        note: is called when either signal has come.
    """

    def interrupted(number: int, frame: FrameType | None) -> None:
        del number, frame
        note()

    def terminated(number: int, frame: FrameType | None) -> None:
        del number, frame
        note()
        end()

    before: Mapping[int, Any] = {
        signal.SIGINT: signal.signal(signal.SIGINT, interrupted),
        signal.SIGTERM: signal.signal(signal.SIGTERM, terminated),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _command(args: list[str], log: Path | None, threads: int | None) -> None:
    """`python -m lit_distill ARGS`, in a process that may have imported it before."""
    args = [*args, *(f"{OPTION}={name}" for name in modules.permitted)]  # as typed for `run`
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if log is not None:
        sys.stdout = sys.stderr = log.open("w", encoding="utf-8", buffering=1)
        os.dup2(sys.stdout.fileno(), 1)  # for what writes past Python
        os.dup2(sys.stdout.fileno(), 2)
    if threads is not None:
        import torch

        os.environ["OMP_NUM_THREADS"] = str(threads)  # of processes that this one starts
        torch.set_num_threads(threads)
    sys.argv[1:] = args
    sys.modules.pop("lit_distill.__main__", None)
    runpy.run_module("lit_distill", run_name="__main__", alter_sys=True)
