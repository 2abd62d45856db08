"""The faults of disks: full, limited, read-only."""

from __future__ import annotations

import resource
import signal
import subprocess
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from faults.kinds import REFUSED, TRAINING, Fault, said_how_to_go_on
from faults.runs import Run
from faults.traps import Meeting, sabotage

import lit_distill.cli.training

FILE_BYTES = 1 << 15


@dataclass(frozen=True)
class DiskFull(Fault):
    """The file system has no byte left from a micro-batch on."""

    name = "disk full"
    on_small_disk = True
    at: int

    @property
    def where(self) -> str:
        return f"ENOSPC from micro-batch {self.at} on"

    def strike(self, run: Run) -> list[int]:
        filler, meeting = run.folder.parent / "filler", Meeting(run.config)
        children = run.start(run.fit(), sabotage(*TRAINING, self.at, meeting.child))
        meeting.parent(lambda: fill(filler))
        codes = run.wait(children)
        filler.unlink()
        assert codes[0] == REFUSED, run.output()
        assert "No space left on device" in run.output(), run.output()
        assert said_how_to_go_on(run.output(0)), run.output(0)
        return codes


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while True:
                    file.write(b"0" * size)
            except OSError:
                continue


@dataclass(frozen=True)
class FilesTooLarge(Fault):
    """The system lets no file grow (a quota, a limit) from a micro-batch on, or up to another."""

    name = "disk full"
    at: int
    until: int | None = None

    @property
    def where(self) -> str:
        end = "on" if self.until is None else f"to {self.until}"
        return f"EFBIG from micro-batch {self.at} {end}"

    def strike(self, run: Run) -> list[int]:
        traps = [sabotage(*TRAINING, self.at, lambda *_: limit_files(FILE_BYTES))]
        if self.until is not None:
            lifted = sabotage(*TRAINING, self.until, lambda *_: limit_files(resource.RLIM_INFINITY))
            traps.append(lifted)
        codes = run.work(run.fit(), *traps)
        assert "File too large" in run.output(), run.output()
        if self.until is None:
            assert codes[0] == REFUSED, run.output()
            assert said_how_to_go_on(run.output(0)), run.output(0)
        else:
            assert not any(codes), run.output()
            assert "Training goes on" in run.output(), run.output()
        return codes


def limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@dataclass(frozen=True)
class ReadOnly(Fault):
    """The file system refuses every write, from the start or from a micro-batch on."""

    name = "read-only"
    on_small_disk = True
    at: int | None = None

    @property
    def where(self) -> str:
        return "from the start" if self.at is None else f"from micro-batch {self.at} on"

    def strike(self, run: Run) -> list[int]:
        disk = run.folder.parent
        if self.at is None:
            run.folder.mkdir()
            remount(disk, "ro")
            codes = run.work(run.fit())
            remount(disk, "rw")
            assert "--run_dir" in run.output(), run.output()
            assert "Traceback" not in run.output()
        else:
            meeting = Meeting(run.config)
            trap = sabotage(*TRAINING, self.at, meeting.child)
            children = run.start(run.fit(), without_lock, trap)
            meeting.parent(lambda: remount(disk, "ro"))
            codes = run.wait(children)
            remount(disk, "rw")
            assert said_how_to_go_on(run.output(0)), run.output(0)
        assert codes[0] == REFUSED, run.output()
        assert "Read-only file system" in run.output()
        return codes


def without_lock() -> None:
    """No file is open for writing then, which `mount` would mind and a failing disk does not."""
    lit_distill.cli.training.locked = lambda run_dir: nullcontext()  # type: ignore[assignment]


def remount(disk: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)
