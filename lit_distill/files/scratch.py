"""Temporary folders that do not depend on one disk: the system's, or else one beside the target."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_Result = TypeVar("_Result")
_PREFIX = ".lit_distill-scratch-"


def in_scratch(work: Callable[[Path], _Result], beside: Path | None = None) -> _Result:
    """The result of work in a temporary folder that is gone afterwards.

    Args:
        work: gets the folder.
        beside: a folder on another disk, which has to do where the system's is full or read-only.
    """

    def once(folder: Path) -> _Result:
        try:
            return work(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return _first(once, beside)


def kept_scratch(fill: Callable[[Path], object], beside: Path | None = None) -> Path:
    """A temporary folder with content that stays until the process ends; see `in_scratch`."""

    def filled(folder: Path) -> Path:
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        fill(folder)
        return folder

    return _first(filled, beside)


def _first(work: Callable[[Path], _Result], beside: Path | None) -> _Result:
    try:
        return work(Path(tempfile.mkdtemp(prefix=_PREFIX)))
    except Exception:  # the tokenizer library says that a disk is full by a plain one
        if beside is None or not beside.is_dir():
            raise
    return work(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=beside)))
