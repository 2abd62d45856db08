"""Folders that are made once, whole, whatever else runs or dies meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_info

from lit_distill.errors import UserError


def made_once(target: Path, make: Callable[[Path], None]) -> Path:
    """The folder `target`; if it is not there, `make` writes it.

    Beside the target, then renamed: what is there is whole. One process at a time; another that
    wants the same folder waits for it.

    Raises:
        UserError: it cannot be written.
    """
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            if not target.is_dir():
                beside = target.with_suffix(".partial")
                # of a process that was killed: the lock is ours
                shutil.rmtree(beside, ignore_errors=True)
                try:
                    make(beside)
                    beside.rename(target)
                finally:
                    shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"The tokenised corpus cannot be written: {error}. Free some space there, or set "
            "data.init_args.cache_dir to another folder."
        ) from error
    return target


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keeps other processes from making the same folder."""
    lock = FileLock(target.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        rank_zero_info(f"Another process tokenises into {target}: waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
