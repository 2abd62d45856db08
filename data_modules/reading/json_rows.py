"""Rows of .jsonl files: which keys they have, and which twice."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import IO, Any, cast


def has_twice(line: str, key: str) -> bool:
    """Whether the JSON object of a line has a key twice, of which the parser keeps the last."""
    if line.count(key) < 2:
        return False
    pairs: list[tuple[str, Any]] = []

    def keep(found: list[tuple[str, Any]]) -> None:
        pairs[:] = found  # those of the outermost object come last

    json.loads(line, object_pairs_hook=keep)
    return [name for name, _ in pairs].count(key) > 1


def keys_of(path: Path) -> list[str]:
    """Keys of the first row of a .jsonl file; none of other files, and where there is no such row.

    A row may lack any of the keys that others have, so that no reader can refuse a wrong one.
    """
    zipped = path.suffix.lower() == ".gz"
    if Path(path.stem if zipped else path.name).suffix.lower() != ".jsonl":
        return []
    try:
        with cast(IO[bytes], (gzip.open if zipped else open)(path, "rb")) as file:
            row = json.loads(file.readline())
    except (OSError, EOFError, zlib.error, ValueError, RecursionError):
        return []
    return list(row) if isinstance(row, dict) else []
