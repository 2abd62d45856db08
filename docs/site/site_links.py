"""Links between files of the repository, as links between pages of the site."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

LINK = re.compile(r"(?<=\]\()([^()\s]+)(?=\))")
CODE = re.compile(r"(?ms)^ *```.*?^ *```|`[^`]+`|^ {4,}[^\n]*")
ELSEWHERE = re.compile(r"[a-z]+:|#")

Places = Mapping[str, str]
"""Places in the site, with an anchor or without, of files of the repository."""


def rewritten(text: str, file: str, places: Places) -> str:
    """Markdown of a file whose links lead to pages of the site.

    Args:
        text: of the file.
        file: its path in the repository.
        places: of all files that can be linked.

    Raises:
        LookupError: it links a file that has no place.
    """

    def moved(match: re.Match[str]) -> str:
        target, _, anchor = match[1].partition("#")
        linked = _resolved(file, target)
        if linked not in places:
            raise LookupError(f"{file} links {match[1]}, which is no file of the site")
        place, _, own_anchor = places[linked].partition("#")
        anchor = anchor or own_anchor
        own = places[file].partition("#")[0]
        path = os.path.relpath(place, PurePosixPath(own).parent)
        return f"{path}#{anchor}" if anchor else path

    parts, last = list[str](), 0
    for code in [*CODE.finditer(text), None]:
        before = text[last : code.start() if code else len(text)]
        parts.append(
            LINK.sub(lambda found: found[0] if _elsewhere(found) else moved(found), before)
        )
        if code:
            parts.append(code[0])
            last = code.end()
    return "".join(parts)


def linked_files(text: str, file: str) -> Iterator[str]:
    """Files of the repository that a file in Markdown links, by their paths."""
    for found in LINK.finditer(CODE.sub("", text)):
        if not _elsewhere(found):
            yield _resolved(file, found[1].partition("#")[0])


def _elsewhere(link: re.Match[str]) -> bool:
    """Whether a link leads to another site, or within its own page."""
    return bool(ELSEWHERE.match(link[1]))


def _resolved(file: str, target: str) -> str:
    return os.path.normpath((Path(file).parent / target).as_posix())
