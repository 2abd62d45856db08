"""What is at a path: a file with texts, or what only looks like one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from lit_distill.errors import UserError

FORMATS = (".txt", ".jsonl", ".csv", ".parquet")
"""Recognised suffixes of files with texts; all but parquet also with .gz."""

_KINDS = {
    stat.S_IFIFO: "a pipe, which can be read only once: write what it gives to a file",
    stat.S_IFSOCK: "a socket, not a file",
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
}


def file_stamp(path: Path) -> str:
    """Size and times of a file and its inode: no content takes the place of another unseen.

    The time of the last change of the inode cannot be set back, as that of the content can.
    """
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def is_file(path: Path | str) -> bool:
    """Whether a file, or a link to one, is there.

    Raises:
        UserError: its folder may not be looked into.
    """
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except PermissionError as error:
        raise UserError(f"{path} cannot be looked at: {error.strerror}.") from error
    except (OSError, ValueError):
        return False


def check_kind(path: Path | str) -> bool:
    """Whether a path that a pattern found is a file; False for a folder, which may be there too.

    Raises:
        UserError: it is neither, or a folder with the name of a file.
    """
    if is_file(path):
        return True
    trouble = _trouble(Path(path))
    if trouble:
        raise UserError(f"{path} {trouble}. Repair or remove it, or give other `files`.")
    return False


def check_folders(paths: Iterable[str]) -> None:
    """Checks folders on the way to files: a pattern finds nothing in those that cannot be opened.

    Raises:
        UserError: one is a link that leads nowhere, or may not be looked into.
    """
    for path in paths:
        if os.path.isdir(path):
            try:
                os.scandir(path).close()
            except OSError as error:
                raise UserError(
                    f"The folder {path} cannot be looked into ({error.strerror}), and what it "
                    "holds would be missing: make it readable, or give other `files`."
                ) from error
        elif not os.path.exists(path):
            check_kind(path)


def check_dataset(folder: Path) -> None:
    """Checks all that a folder with a dataset holds, in every depth; see `check_kind`.

    Raises:
        UserError: something there cannot be read.
    """
    for above, folders, files in os.walk(folder, onerror=_raise):
        for name in (*folders, *files):
            path = Path(above, name)
            if not path.is_dir():
                check_kind(path)


def _raise(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be looked into: {error.strerror}.") from error


def _trouble(path: Path) -> str:
    """Why there is no file; empty where there is a folder, and nobody can mean it as a file."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink():
            where = os.readlink(path)
            return f"is a link to {where}, which cannot be opened ({error.strerror})"
        return f"cannot be looked at ({error.strerror})"
    if stat.S_ISDIR(mode):
        named = path.name.lower().removesuffix(".gz").endswith(FORMATS)
        return "is a folder, not a file" if named else ""
    return f"is {_KINDS.get(stat.S_IFMT(mode), 'no file')}"
