"""Folders and files that commands write and may write again: only what is ours is replaced.

A mark inside a folder names every entry that was written, and what wrote it. A folder without it,
of another command, or with anything more, is somebody else's, whatever it is called.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from lit_distill.errors import UserError
from lit_distill.files.atomic_files import UNFINISHED, replacing

MARK = ".lit_distill.json"
"""The file inside an output folder that names what was written there."""
STUDENT = "student"


def mark(folder: Path, kind: str = STUDENT) -> None:
    """Notes all that is in a folder; called when everything is written.

    Args:
        folder: of a command's own.
        kind: what it is; commands of other kinds do not replace it.
    """
    entries = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    (folder / MARK).write_text(
        json.dumps({"kind": kind, "written": entries}, indent=1) + "\n", "utf-8"
    )


def write_files(folder: Path, texts: Mapping[str, str | bytes], kind: str) -> None:
    """Makes a marked folder of files, or replaces it by one, whole or not at all.

    Args:
        folder: `check_output` says whether that loses anything.
        texts: contents, by name.
        kind: see `mark`.

    Raises:
        UserError: it could not be written.
    """
    with replacing(folder) as beside:
        beside.mkdir()
        for name, text in texts.items():
            (beside / name).write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
        mark(beside, kind)


def check_output(folder: Path, option: str = "--output", kind: str = STUDENT) -> None:
    """Refuses a place for a folder where something would be lost.

    Args:
        folder: where it is to appear.
        option: by which the user chose it, for the message.
        kind: what is to be written: see `mark`.

    Raises:
        UserError: a file, a link, or a folder that is not wholly ours is there, or nothing can be
            made there.
    """
    instead = f"Choose another {option}, or move it away."
    if folder.is_symlink():
        raise UserError(
            f"{option} {folder} is a link, and would be replaced by a folder. {instead}"
        )
    _check_above(folder, option)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{option} {folder} is a file, and a folder is to be written. {instead}")
    if folder.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise UserError(
            f"{option} {folder} is the folder in which this command runs, or one above it, and "
            "would be replaced as a whole. Choose a folder of its own."
        )
    if foreign := _foreign(folder, kind):
        shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise UserError(
            f"{option} {folder} would be replaced, and holds what this command did not write: "
            f"{shown}. {instead}"
        )


def check_output_file(
    path: Path, is_ours: Callable[[Path], bool], inputs: Iterable[Path], option: str = "--output"
) -> None:
    """Refuses a place for a file where something would be lost.

    Args:
        path: where it is to appear.
        is_ours: whether a file is one that the command wrote before, and nothing else.
        inputs: files that the command reads.
        option: by which the user chose it, for the message.

    Raises:
        UserError: what is there is a folder, a link, an input, or not ours, or nothing can be made
            there.
    """
    instead = f"Choose another {option}, or move it away."
    _check_above(path, option)
    if path.is_symlink() or path.is_dir():
        what = "link" if path.is_symlink() else "folder"
        raise UserError(f"{option} {path} is a {what}, and a file is to be written. {instead}")
    if not path.exists():
        return
    if any(other.exists() and path.samefile(other) for other in inputs):
        raise UserError(
            f"{option} {path} is read by this command, and would be replaced by what it makes of "
            f"it. Choose another {option}."
        )
    if path.stat().st_size and not is_ours(path):
        raise UserError(
            f"{option} {path} would be replaced, and this command did not write it. {instead}"
        )


def _check_above(path: Path, option: str) -> None:
    above = next(other for other in path.absolute().parents if other.exists())
    if not above.is_dir():
        raise UserError(
            f"{option} {path} cannot be made: {above} is a file. Choose another {option}."
        )
    if not os.access(above, os.W_OK):
        raise UserError(
            f"{option} {path} cannot be made: nothing can be written to {above}. Choose another "
            f"{option}."
        )


def _foreign(folder: Path, kind: str) -> list[str]:
    """What is in a folder beside what was written there."""
    entries = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    entries = {entry for entry in entries if not entry.endswith(UNFINISHED)}
    return sorted(entries - _written(folder, kind))


def _written(folder: Path, kind: str) -> set[str]:
    try:
        found = json.loads((folder / MARK).read_text("utf-8"))
        return {MARK, *map(str, found["written"])} if found.get("kind", STUDENT) == kind else set()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return _of_the_first_release(folder) if kind == STUDENT else set()


def _of_the_first_release(folder: Path) -> set[str]:
    """Its students have no mark; their cards name us."""
    try:
        card = (folder / "README.md").read_text("utf-8")
    except (OSError, ValueError):
        return set()
    if "tags: [lit_distill" not in card:
        return set()
    ours = re.compile(
        r"README\.md|(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|"
        r"model\.safetensors\.index)\.json|config\.yaml|chat_template\.jinja|model[\w-]*\.safetensors"
    )
    return {path.name for path in folder.iterdir() if ours.fullmatch(path.name)}
