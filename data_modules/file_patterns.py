"""Globs in which `{language}` stands for a language tag."""

from __future__ import annotations

import glob
import re
from difflib import get_close_matches
from pathlib import Path

from lit_distill.errors import UserError

LANGUAGE = "{language}"

_TAG = r"([\w-]+)"
_WILD = re.compile(r"(\*\*/|\*\*|\*|\?|\[[^]]+\])")
_AS_REGEX = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def files_of(pattern: str, root: Path) -> list[Path]:
    """The file of this path, or all that match, sorted; relative ones below `root`.

    Raises:
        UserError: there is none; the message names what is nearest.
    """
    path = root / Path(pattern).expanduser()
    if path.is_file():
        return [path]
    paths = [Path(found) for found in sorted(glob.glob(_absolute(pattern, root), recursive=True))]
    files = [found for found in paths if found.is_file()]
    if not files:
        what = "No file matches" if _WILD.search(pattern) or LANGUAGE in pattern else "No file"
        raise UserError(f"{what} {path}.{nearest(path)}")
    return files


def languages_of(pattern: str, root: Path) -> set[str]:
    """Every language for which the pattern finds a file."""
    whole = _absolute(pattern, root)
    before, *after = (_regex(part) for part in whole.split(LANGUAGE))
    shape = re.compile(before + _TAG + r"\1".join(after))
    paths = glob.glob(whole.replace(LANGUAGE, "*"), recursive=True)
    return {match[1] for path in paths if (match := shape.fullmatch(path)) and Path(path).is_file()}


def nearest(path: Path) -> str:
    """What there is instead: a similar name at the place where the path stops to exist."""
    while not path.parent.exists() and path.parent != path:
        path = path.parent
    if not path.parent.is_dir():
        return ""
    names = sorted(entry.name for entry in path.parent.iterdir())
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
