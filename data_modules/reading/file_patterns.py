"""Globs in which `{language}` stands for a language tag.

What a pattern finds and cannot be read (a link that leads nowhere, a pipe, a folder with the name
of a file, a folder that may not be looked into) is said: its language would be missing otherwise.
"""

from __future__ import annotations

import glob
import os
import re
from difflib import get_close_matches
from pathlib import Path

from data_modules.reading.file_kinds import check_folders, check_kind, is_file
from lit_distill.errors import UserError

LANGUAGE = "{language}"

_TAG = r"([\w-]+)"
_WILD = re.compile(r"(\*\*/|\*\*|\*|\?|\[[^]]+\])")
_AS_REGEX = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def files_of(pattern: str, root: Path) -> list[Path]:
    """The file of this path, or all that match, sorted; relative ones below `root`.

    Raises:
        UserError: there is none, and the message names what is nearest; or one cannot be read.
    """
    path = root / Path(pattern).expanduser()
    if is_file(path):
        return [path]
    files = [Path(found) for found in _found(_absolute(pattern, root)) if check_kind(Path(found))]
    if not files:
        what = "No file matches" if _WILD.search(pattern) or LANGUAGE in pattern else "No file"
        raise UserError(f"{what} {path}.{nearest(path)}")
    return files


def languages_of(pattern: str, root: Path) -> set[str]:
    """Every language for which the pattern finds a file.

    Raises:
        UserError: what it finds for one cannot be read.
    """
    whole = _absolute(pattern, root)
    before, *after = (_regex(part) for part in whole.split(LANGUAGE))
    shape = re.compile(before + _TAG + r"\1".join(after))
    paths = _found(whole.replace(LANGUAGE, "*"))
    return {match[1] for path in paths if (match := shape.fullmatch(path)) and check_kind(path)}


def _found(pattern: str) -> list[str]:
    """What a glob finds, sorted; folders on the way into which it cannot look are no silence."""
    parts = Path(pattern).parts
    for end in range(1, len(parts)):
        if _WILD.search(parts[end - 1]) or _WILD.search(parts[end]):
            check_folders(glob.iglob(str(Path(*parts[:end])), recursive=True))
    return sorted(glob.glob(pattern, recursive=True))


def nearest(path: Path) -> str:
    """What there is instead: a similar name at the place where the path stops to exist."""
    while not os.path.exists(path.parent) and path.parent != path:
        path = path.parent
    try:
        names = sorted(entry.name for entry in path.parent.iterdir())
    except OSError:  # a file, or a folder that may not be looked into
        return ""
    close = get_close_matches(path.name, names, 1)
    if close:
        return f" Did you mean {path.parent / close[0]}?"
    more = ", ..." if len(names) > 5 else ""
    return f" {path.parent} has {', '.join(names[:5]) or 'nothing in it'}{more}."


def _absolute(pattern: str, root: Path) -> str:
    """The pattern below `root`, whose own brackets are no wildcards."""
    return str(Path(glob.escape(str(root))) / Path(pattern).expanduser())


def _regex(pattern: str) -> str:
    """A part of a glob as a regular expression."""
    parts = _WILD.split(pattern)
    return "".join(_AS_REGEX.get(part) or _literal_or_class(part) for part in parts)


def _literal_or_class(part: str) -> str:
    if not _WILD.fullmatch(part):
        return re.escape(part)
    inside = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
    return f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
