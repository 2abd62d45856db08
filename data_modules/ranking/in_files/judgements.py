"""Judgements and lists by id: qrels of BEIR and TREC, and the lists of a first stage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from data_modules.ranking.collection import Entry
from data_modules.reading.readers import Broken
from lit_distill.errors import UserError


def judged(path: Path, limit: int | None = None) -> Iterator[tuple[str, str, int] | Broken]:
    """Query, passage and grade of every line of a file of judgements.

    Args:
        path: three columns between tabs, the first line their names or not; or TREC's four.
        limit: read at most so many.

    Raises:
        UserError: it cannot be read.
    """
    for number, line in enumerate(_lines(path), 1):
        if limit is not None and number > limit:
            return
        cells = line.split("\t") if "\t" in line else line.split()
        if number == 1 and len(cells) == 3 and not _grade(cells[-1]):
            continue  # names of the columns
        if len(cells) == 4:  # of which TREC's second says nothing
            cells = [cells[0], *cells[2:]]
        if len(cells) != 3:
            yield Broken(number, f"no three columns ({len(cells)})")
        elif not _grade(cells[2]):
            yield Broken(number, f"no grade ({ascii(cells[2])[:20]})")
        else:
            yield cells[0], cells[1], int(float(cells[2]))


def listed(path: Path, limit: int | None = None) -> Iterator[tuple[str, list[str]] | Broken]:
    """Query and passages of every line of a file of lists.

    Raises:
        UserError: it cannot be read.
    """
    for number, line in enumerate(_lines(path), 1):
        if limit is not None and number > limit:
            return
        try:
            row = json.loads(line)
            query, passages = row["query"], row["passages"]
        except (ValueError, KeyError, TypeError, RecursionError):
            yield Broken(number, "no `query` and `passages`")
            continue
        if not isinstance(passages, list) or not passages:
            yield Broken(number, "no list of passages")
        else:
            yield str(query), [str(one) for one in passages]


def of_judgements(grades: dict[str, dict[str, int]]) -> Iterator[Entry]:
    """Lists of the judged passages of every query, the most relevant ones first."""
    for query, own in grades.items():
        order = sorted(own, key=lambda passage: -own[passage])
        yield Entry(query, tuple(order), tuple(max(own[one], 0) for one in order))


def of_lists(grades: dict[str, dict[str, int]], lists: dict[str, list[str]]) -> Iterator[Entry]:
    """The same, with the passages of lists where a query has one."""
    yield from of_judgements({query: own for query, own in grades.items() if query not in lists})
    for query, passages in lists.items():
        own = grades.get(query, {})
        yield Entry(query, tuple(passages), tuple(max(own.get(one, 0), 0) for one in passages))


def _grade(cell: str) -> bool:
    try:
        return float(cell) == int(float(cell))
    except (ValueError, OverflowError):
        return False


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    yield line.rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read to its end: {error}") from error
