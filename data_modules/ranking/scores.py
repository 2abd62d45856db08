"""A teacher's scores of lists, as they lie in a folder, and whether they are of these lists.

`scores.jsonl` has a row for every list: the number of its `source`, its `query`, its `passages` in
order, and a number for each. `provenance.json` says who gave them, and as `count` how many
lists there are, so that half a file is not taken for a whole one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_modules.ranking.gathering import Asked
from data_modules.reading.file_kinds import file_stamp
from lit_distill.errors import UserError

ROWS, PROVENANCE = "scores.jsonl", "provenance.json"
Key = tuple[int, str, tuple[str, ...]]
"""Number of the source, query, and passages in their order."""


def stamp_of(folder: Path) -> str:
    """A text that changes when the scores do.

    Raises:
        UserError: there are none.
    """
    path = folder / ROWS
    if not path.is_file() or not (folder / PROVENANCE).is_file():
        raise UserError(
            f"{folder} has no {ROWS} with a {PROVENANCE} beside it, as docs/retrieval.md "
            "describes them: write them, or leave data.init_args.scores out."
        )
    return f"{path.resolve()} {file_stamp(path)}"


def read_scores(folder: Path) -> dict[Key, tuple[float, ...]]:
    """All scores of a folder, by list.

    Raises:
        UserError: they are damaged, or not finished.
    """
    stamp_of(folder)  # raises
    found: dict[Key, tuple[float, ...]] = {}
    try:
        said = json.loads((folder / PROVENANCE).read_text("utf-8"))
        with (folder / ROWS).open(encoding="utf-8") as file:
            for line in file:
                key, scores = parsed(json.loads(line))
                found[key] = scores
        wanted = int(said["count"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"The scores in {folder} are damaged ({error}): score the lists anew."
        ) from error
    if len(found) != wanted:
        raise UserError(
            f"{folder} has scores of {len(found)} of {wanted} lists: score the others, too."
        )
    return found


def parsed(row: Mapping[str, Any]) -> tuple[Key, tuple[float, ...]]:
    """The list and the scores of a row.

    Raises:
        ValueError: it has not a number for each passage.
        KeyError: it lacks something.
    """
    passages, scores = tuple(map(str, row["passages"])), tuple(map(float, row["scores"]))
    if len(passages) != len(scores) or any(score != score for score in scores):
        raise ValueError(f"the list of {row['query']} has no score for each passage")
    return (int(row["source"]), str(row["query"]), passages), scores


def with_scores(
    asked: Asked, source: int, known: Mapping[Key, tuple[float, ...]], where: Path
) -> None:
    """Gives the lists of training and validation their scores.

    Args:
        asked: of one source; changed.
        source: its number.
        known: scores of all sources.
        where: they lie, for messages.

    Raises:
        UserError: a list has none: they are of other lists, or in another order.
    """
    of_queries: dict[str, tuple[str, ...]] = {}
    for number, query, passages in known:
        if number == source:
            of_queries[query] = passages
    for split in ("train", "validation"):
        scored = []
        for entry in asked.entries[split]:
            found = known.get((source, entry.query, entry.passages))
            if found is None:
                other = of_queries.get(entry.query)
                what = "no list of it" if other is None else f"the passages {_some(other)}"
                raise UserError(
                    f"The scores in {where} are of other lists: query {entry.query!r} has the "
                    f"passages {_some(entry.passages)} in the data, and the scores have {what}. "
                    "Score these lists, or restore the data that was scored."
                )
            scored.append(entry._replace(scores=found))
        asked.entries[split] = scored


def _some(passages: Sequence[str]) -> str:
    return ", ".join(passages[:4]) + (f", ... ({len(passages)})" if len(passages) > 4 else "")
