"""One training at a time in a run folder."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from lightning_utilities.core.rank_zero import rank_zero_only, rank_zero_warn

from lit_distill.errors import UserError

LOCK, HOLDER = ".fit.lock", ".fit.json"
WRITTEN = ("config.yaml", "report.json", "facts.json", "training.json")
"""Files of a run folder that are replaced without looking at them."""
PATIENCE = 20.0
"""Seconds for which workers of a killed process may still hold its lock."""


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Holds the run folder while the block runs; the system frees it when the process dies.

    Ranks of one run share it: the first one holds it. It is advisory: reading stays free.

    Args:
        run_dir: the run folder, which exists.

    Raises:
        UserError: another process trains there, or it holds files of somebody else that a run would
            replace.
    """
    if vars(rank_zero_only).get("rank"):  # of another rank, by the launcher's environment
        yield
        return
    _check_foreign(run_dir)
    lock = FileLock(run_dir / LOCK)
    try:
        _acquire(lock, run_dir)
    except NotImplementedError:
        rank_zero_warn(f"{run_dir} lies on a file system without locks: start one run in it only.")
        yield
        return
    try:
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.ctime()}
        (run_dir / HOLDER).write_text(json.dumps(holder), "utf-8")
        yield
    finally:
        lock.release()


def _check_foreign(run_dir: Path) -> None:
    """Refuses a folder that no run has had, and that has what a run writes.

    A run has left its lock there, or, of the first release, its checkpoints.
    """
    if (run_dir / HOLDER).exists() or any((run_dir / "checkpoints").glob("*.ckpt")):
        return
    if found := [name for name in WRITTEN if (run_dir / name).exists()]:
        raise UserError(
            f"{run_dir} holds no run, and {' and '.join(found)}, which this one would replace. "
            "Choose another --run_dir, or move it away."
        )


def _acquire(lock: FileLock, run_dir: Path) -> None:
    try:
        lock.acquire(timeout=0)
        return
    except Timeout:
        holder = _holder(run_dir)
    if _is_gone(holder):  # and its loader's workers have not noticed yet
        try:
            lock.acquire(timeout=PATIENCE)
            return
        except Timeout:
            pass
    who = f"process {holder['pid']} on {holder['host']}, since {holder['since']}" if holder else ""
    raise UserError(
        f"Another training writes into {run_dir} ({who or 'it has not said who it is'}), and two "
        "would destroy each other's checkpoints. Wait for it, stop it, or choose another --run_dir."
    )


def _holder(run_dir: Path) -> dict[str, Any] | None:
    """Who holds the lock, as it wrote itself; None where that cannot be read."""
    try:
        found = json.loads((run_dir / HOLDER).read_text("utf-8"))
        return {name: found[name] for name in ("host", "pid", "since")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_gone(holder: dict[str, Any] | None) -> bool:
    """Whether the holder is a process of this machine that has ended."""
    if holder is None or holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except (ProcessLookupError, ValueError, TypeError):
        return True
    except OSError:
        return False
    return False
