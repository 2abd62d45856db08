"""Folders that commands write and may write again: only what is ours and whole is replaced.

A mark inside names every entry that was written. A folder without it, or with anything more, is
somebody else's, whatever it is called.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from lit_distill.errors import UserError

MARK = ".lit_distill.json"
"""The file inside an output folder that names what was written there."""


def mark(folder: Path) -> None:
    """Notes all that is in a folder; called when everything is written."""
    entries = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    (folder / MARK).write_text(json.dumps({"written": entries}, indent=1) + "\n", "utf-8")


def check_output(folder: Path, option: str = "--output") -> None:
    """Refuses a place for a folder where something would be lost.

    Args:
        folder: where it is to appear.
        option: by which the user chose it, for the message.

    Raises:
        UserError: a file, a link, or a folder that is not wholly ours is there.
    """
    instead = f"Choose another {option}, or move it away."
    if folder.is_symlink():
        raise UserError(
            f"{option} {folder} is a link, and would be replaced by a folder. {instead}"
        )
    if not folder.exists():
        above = next(path for path in folder.absolute().parents if path.exists())
        if not above.is_dir():
            raise UserError(f"{option} {folder} cannot be made: {above} is a file. {instead}")
        return
    if not folder.is_dir():
        raise UserError(f"{option} {folder} is a file, and a folder is to be written. {instead}")
    if folder.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise UserError(
            f"{option} {folder} is the folder in which this command runs, or one above it, and "
            "would be replaced as a whole. Choose a folder of its own."
        )
    if foreign := _foreign(folder):
        shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise UserError(
            f"{option} {folder} would be replaced, and holds what this command did not write: "
            f"{shown}. {instead}"
        )


def _foreign(folder: Path) -> list[str]:
    """What is in a folder beside what was written there."""
    entries = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    return sorted(entries - _written(folder))


def _written(folder: Path) -> set[str]:
    try:
        found = json.loads((folder / MARK).read_text("utf-8"))
        return {MARK, *map(str, found["written"])}
    except (OSError, ValueError, KeyError, TypeError):
        return _of_the_first_release(folder)


def _of_the_first_release(folder: Path) -> set[str]:
    """Its students have no mark; their cards name us."""
    try:
        card = (folder / "README.md").read_text("utf-8")
    except (OSError, ValueError):
        return set()
    if "tags: [lit_distill, knowledge-distillation]" not in card:
        return set()
    ours = re.compile(
        r"README\.md|(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|"
        r"model\.safetensors\.index)\.json|config\.yaml|chat_template\.jinja|model[\w-]*\.safetensors"
    )
    return {path.name for path in folder.iterdir() if ours.fullmatch(path.name)}
