"""Files and folders that are there whole or not at all, whatever kills the process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from lit_distill.errors import UserError
from lit_distill.files.disk_errors import LOCKED

UNFINISHED = ".lit_distill-new"
"""How the names of files end that are being written; nobody else gives such names."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write a file or folder to, then puts that in its place.

    The old one stays until the new one is whole and on the disk. Should writing fail, what was
    written is removed; what a killed process left is removed by the next one.

    Args:
        path: where the file or folder is to appear.

    Raises:
        UserError: it could not be written (disk full, read-only, ...); the old one is untouched.
    """
    try:
        with _beside(path) as beside:
            yield beside
    except Exception as error:
        reason = _refusal(error)
        if reason is None:
            raise
        locked = isinstance(error, OSError) and error.errno in LOCKED
        room = "" if locked else _free_space(path.parent)
        raise UserError(
            f"{path} could not be written: {reason}{room}. What was there before is untouched."
        ) from error


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    recover(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}{UNFINISHED}")
    remove(beside)
    try:
        yield beside
        _sync(beside)
        if beside.is_dir():
            _replace_folder(beside, path)
        else:
            os.replace(beside, path)
        _sync_entry(path.parent)
    except BaseException:
        with suppress(OSError):  # a disk that became read-only
            remove(beside)
        raise


def _refusal(error: Exception) -> str | None:
    """What the system said when it refused to write; None if it did not."""
    if isinstance(error, SafetensorError):
        return str(error)
    # torch reports a failed write as a RuntimeError of its own, raised from the OSError
    cause = error.__context__ if isinstance(error, RuntimeError) else error
    return cause.strerror or str(cause) if isinstance(cause, OSError) else None


def _free_space(folder: Path) -> str:
    try:
        return f" ({shutil.disk_usage(folder).free / 2**20:,.0f} MiB free in {folder})"
    except OSError:
        return ""


def recover(path: Path) -> None:
    """Puts a folder back whose replacement was killed between its two renames."""
    old = _old(path)
    if old.exists() and not path.exists():
        old.rename(path)


def keep_as(path: Path, other: Path) -> None:
    """Keeps what is at `path`, if anything, under a second name when `path` is replaced next."""
    if path.is_dir():
        remove(other)
        path.rename(other)  # a folder has one name only
    elif path.exists() and not (other.exists() and path.samefile(other)):
        with replacing(other) as beside:
            try:
                os.link(path, beside)  # costs nothing: files here are replaced, never changed
            except OSError:  # a file system without hard links
                shutil.copyfile(path, beside)


def remove(path: Path) -> None:
    """Removes a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.lit_distill-old")


def _replace_folder(new: Path, place: Path) -> None:
    """Two renames: a folder with content cannot be replaced in one."""
    old = _old(place)
    if place.exists():
        remove(old)
        place.rename(old)
    new.rename(place)
    remove(old)


def _sync(path: Path) -> None:
    """Waits until a file, or everything in a folder, is on the disk."""
    if path.is_dir():
        for inner in path.iterdir():
            _sync(inner)
    _sync_entry(path)


def _sync_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
