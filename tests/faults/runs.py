"""Runs in processes of their own, forked to save the imports, that may be harmed in any way.

With several ranks each is such a process, started as `torchrun` starts them.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from faults.configs import UPDATES
from faults.remains import Remains

from callbacks import AtomicCheckpointIO, newest_readable_checkpoint
from lit_distill.__main__ import main

PATIENCE = 90  # seconds until a process counts as hanging
HANGS = 1000  # its exit code then

Trap = Callable[[], None]


@dataclass(frozen=True)
class Run:
    """A run folder and the processes that work in it.

    Attributes:
        folder: of the run.
        config: its configuration; beside it lie notes of the harness.
        ranks: processes that train together.
    """

    folder: Path
    config: Path
    ranks: int = 1

    def fit(self, *options: str) -> list[str]:
        return ["fit", "--config", str(self.config), "--run_dir", str(self.folder), *options]

    def start(self, args: Sequence[str], *traps: Trap) -> list[int]:
        """The process ids, by rank, of children that work through a command line."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        return [self._fork(rank, port, args, traps) for rank in range(self.ranks)]

    def _fork(self, rank: int, port: int, args: Sequence[str], traps: Sequence[Trap]) -> int:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                os.setsid()
                self._redirect(rank)
                warnings.simplefilter("default")  # as in a process of its own, not recorded
                warnings.showwarning = lambda message, *_: print(message)
                os.environ["RANK"] = str(rank)
                if self.ranks > 1:
                    self._join_others(rank, port)
                for trap in (self._note_saves, *traps):
                    trap()
                code = main(args)
            except SystemExit as ending:
                code = int(ending.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        return child

    def _redirect(self, rank: int) -> None:
        """Everything that this process prints goes to a file."""
        sys.stdout = sys.stderr = self._output(rank).open("w", buffering=1)
        for number in (1, 2):
            os.dup2(sys.stdout.fileno(), number)
        logging.getLogger("lightning.pytorch").handlers = [logging.StreamHandler()]

    def _join_others(self, rank: int, port: int) -> None:
        os.environ |= {
            "LOCAL_RANK": str(rank),
            "GROUP_RANK": "0",
            "WORLD_SIZE": str(self.ranks),
            "LOCAL_WORLD_SIZE": str(self.ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": "faults",
        }

    def _note_saves(self) -> None:
        real = AtomicCheckpointIO.save_checkpoint

        def noted(own: Any, checkpoint: dict[str, Any], *rest: Any, **options: Any) -> None:
            real(own, checkpoint, *rest, **options)
            with self.config.with_suffix(".saves").open("a") as notes:
                notes.write(f"{checkpoint['global_step']}\n")

        AtomicCheckpointIO.save_checkpoint = noted  # type: ignore[method-assign,assignment]

    def wait(self, children: list[int]) -> list[int]:
        """Exit codes by rank; minus the signal's number of those that were killed by one."""
        codes: dict[int, int] = {}
        deadline = time.monotonic() + PATIENCE
        while len(codes) < len(children):
            for child in set(children) - set(codes):
                pid, status = os.waitpid(child, os.WNOHANG)
                if pid:
                    codes[child] = os.waitstatus_to_exitcode(status)
                elif time.monotonic() > deadline:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    codes[child] = HANGS
            time.sleep(0.01)
        return [codes[child] for child in children]

    def work(self, args: Sequence[str], *traps: Trap) -> list[int]:
        return self.wait(self.start(args, *traps))

    def _output(self, rank: int) -> Path:
        return self.config.with_suffix(f".output{rank}")

    def output(self, rank: int | None = None) -> str:
        """What the latest processes, or one of them, printed."""
        ranks = range(self.ranks) if rank is None else [rank]
        return "\n".join(self._output(rank).read_text() for rank in ranks)

    @property
    def printed_command(self) -> list[str]:
        """The arguments of the command that was printed to go on; empty if there was none."""
        lines = [line for line in self.output().splitlines() if "  python -m lit_distill" in line]
        return shlex.split(lines[-1])[3:] if lines else []

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def saved(self) -> int:
        """After how many updates the last save was finished; 0: none was."""
        notes = self.config.with_suffix(".saves")
        return max(map(int, notes.read_text().split())) if notes.exists() else 0

    @property
    def kept(self) -> int:
        """After how many updates the newest whole checkpoint was written; 0: there is none."""
        path, _ = newest_readable_checkpoint(self.checkpoints)
        return int(torch.load(path, weights_only=True)["global_step"]) if path else 0

    def remains(self) -> Remains:
        """What all updates have left in the folder."""
        checkpoint = torch.load(self.checkpoints / "last.ckpt", weights_only=True)
        assert checkpoint["global_step"] == UPDATES, self.output()
        return Remains.of(self.folder)
