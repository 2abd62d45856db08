"""Folders that are made once, whole, whatever else runs or dies meanwhile."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lit_distill.errors import UserError
from lit_distill.files.disk_errors import remedy

SUMS = "sums.json"
"""The file with a CRC-32 of every other one."""

_AT_ONCE = 1 << 18
_LONG = 4 << 30  # bytes whose check takes a while


def made_once(target: Path, make: Callable[[Path], None], checked: bool = False) -> Path:
    """The folder `target`; if it is not there, or not as it was written, `make` writes it.

    Beside the target, then renamed: what is there is whole. One process at a time; another that
    wants the same folder waits for it. Whatever changed it since, a disk that lost power say, is
    found by its sums, at 3 GB/s of processor time, where reading is not slower.

    Args:
        target: its name says what is in it.
        make: writes it into a new folder.
        checked: whether this was called for it before, so that the sums are known to be right.

    Raises:
        UserError: it cannot be written.
    """
    try:
        if target.is_dir() and (checked or damage_of(target) is None):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            damage = damage_of(target) if target.is_dir() else ""
            if damage is not None:
                _make(target, make, damage)
    except OSError as error:
        raise UserError(
            f"The tokenised corpus cannot be written: {error}. "
            f"{remedy(error, 'data.init_args.cache_dir')}"
        ) from error
    return target


def damage_of(folder: Path) -> str | None:
    """What is wrong with a folder that `made_once` made; None: it is as it was written."""
    try:
        sums = json.loads((folder / SUMS).read_text("utf-8"))
        if not isinstance(sums, dict):
            return f"{SUMS} is no mapping"
        there = _files(folder)
        size = sum((folder / name).stat().st_size for name in there)
        if size >= _LONG:
            rank_zero_info(f"Checking the {size / 1e9:,.1f} GB of {folder}.")
        for name in sorted({*sums, *there}):
            if name not in there:
                return f"{name} is missing"
            if name not in sums or sums[name] != _sum(folder / name):
                return f"{name} is not as it was written"
    except FileNotFoundError as error:
        return f"there is no {Path(error.filename).name}"
    except (OSError, ValueError, RecursionError) as error:
        return str(error)
    return None


def _make(target: Path, make: Callable[[Path], None], damage: str) -> None:
    """Makes the folder; the lock is ours, so what is beside is of a process that was killed."""
    if damage:
        rank_zero_warn(f"The tokenised corpus in {target} is damaged ({damage}): it is made anew.")
    beside, old = target.with_suffix(".partial"), target.with_suffix(".damaged")
    for left in (beside, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        make(beside)
        sums = {name: _sum(beside / name) for name in _files(beside)}
        (beside / SUMS).write_text(json.dumps(sums, indent=1), "utf-8")
        if damage:  # who has its files mapped keeps them
            target.rename(old)
        beside.rename(target)
    finally:
        for left in (beside, old):
            shutil.rmtree(left, ignore_errors=True)


def _files(folder: Path) -> list[str]:
    """Names of all files; hidden ones are the system's."""
    paths = sorted(path for path in folder.rglob("[!.]*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in paths]
    return [name for name in names if name != SUMS]


def _sum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while part := file.read(_AT_ONCE):
            value = crc32(part, value)
    return value


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
