"""SIGTERM and SIGINT as a wish that is granted at the next good moment, and how to go on after."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Trainer


class Interruption:
    """Remembers the first SIGTERM or SIGINT; the second ends the process at once.

    Other signals stay what they are (SLURM's SIGUSR1 is Lightning's). Lightning's own handling of
    SIGTERM would end training between micro-batches of one update, so it is replaced while we
    watch.

    Attributes:
        received: the signal's number; 0 while there was none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._process = 0
        self._before: dict[int, Any] = {}

    def watch(self) -> None:
        """Takes over both signals; does nothing outside the main thread, which never gets any."""
        if threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)

    def release(self) -> None:
        """Gives both signals back."""
        for number, handler in self._before.items():
            # None is a handler that was not installed from Python and cannot be put back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)  # the second one: even inside a hanging C call
        if os.getpid() == self._process:  # not a loader's worker, forked while we watched
            self.received = number
            name = signal.Signals(number).name
            # `print` may not be called again while it is running; `write` may
            os.write(2, f"\n{name}: will stop after this update (again: at once)\n".encode())


def say(line: str, trainer: Trainer) -> None:
    """Prints a line and the command that goes on, not logged: no log level may hide it."""
    print(line, f"  {_resume_command(trainer.default_root_dir)}", sep="\n", flush=True)


def _resume_command(run_folder: str) -> str:
    """The command that continues the run of a folder."""
    config = shlex.quote(str(Path(run_folder) / "config.yaml"))
    return f"python -m lit_distill fit --config {config} --ckpt_path last"
