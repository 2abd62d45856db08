"""From a collection to queries and lists by split: what is broken, repeated or measured is out."""

from __future__ import annotations

from collections.abc import Collection as Sized
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress

from data_modules.ranking.collection import Collection, Entry, Text
from data_modules.reading.readers import Broken
from data_modules.storing.corpus_report import FileReport
from data_modules.storing.tokenising import SPLITS, Settings, Split, allowed, held_out

TEXTS_AT_ONCE = 1000


@dataclass(frozen=True)
class Chosen:
    """Which texts of a collection are taken.

    Attributes:
        queries: languages of queries; None: all.
        passages: languages of passages; None: all.
    """

    queries: tuple[str, ...] | None = None
    passages: tuple[str, ...] | None = None


@dataclass
class Asked:
    """What is asked of a collection.

    Attributes:
        queries: texts by id and language.
        entries: by split.
    """

    queries: dict[str, dict[str, str]] = field(default_factory=dict)
    entries: dict[Split, list[Entry]] = field(default_factory=dict)


def passages_of(
    collection: Collection, chosen: Chosen, settings: Settings, report: FileReport
) -> Iterator[list[Text]]:
    """All passages, some at a time: every id once in a language.

    Args:
        collection: of which.
        chosen: languages.
        settings: of the corpus; texts that it excludes are left out.
        report: what is broken or left out is counted in it.

    Raises:
        UserError: a file cannot be read.
    """
    seen: dict[tuple[str, str], int] = {}
    part: list[Text] = []
    for row in _counted(collection.passages(), report):
        if chosen.passages is not None and row.language not in chosen.passages:
            continue
        mark, name = hash(row.text), (row.id, row.language)
        if name in seen:  # rows name a passage as often as they list it
            report.repeated += seen[name] != mark
            continue
        seen[name] = mark
        part.append(row)
        if len(part) == TEXTS_AT_ONCE:
            yield _fine(part, "train", settings, report)
            part = []
    if part:
        yield _fine(part, "train", settings, report)


def asked_of(
    collection: Collection,
    known: Sized[str],
    chosen: Chosen,
    settings: Settings,
    report: FileReport,
) -> Asked:
    """Queries and lists of a collection.

    Args:
        collection: of which.
        known: ids of its passages; others are taken out of the lists, and counted.
        chosen: languages.
        settings: of the corpus: what is excluded, and one of how many queries is held out.
        report: counts.

    Raises:
        UserError: a file cannot be read.
    """
    asked = Asked()
    for row in _counted(collection.queries(), report):
        if chosen.queries is None or row.language in chosen.queries:
            asked.queries.setdefault(row.id, {}).setdefault(row.language, row.text)
    measured: set[str] = set()
    for split in reversed(SPLITS):
        entries = _entries(collection, split, asked.queries, known, report)
        groups = {entry.query: _group(asked.queries[entry.query]) for entry in entries}
        if split != "test":
            entries = _allowed(entries, asked.queries, split, settings, report)
        if split != "train":
            measured |= {*groups.values()}
            asked.entries[split] = entries
            continue
        fresh = [entry for entry in entries if groups[entry.query] not in measured]
        report.in_evaluation += len(entries) - len(fresh)
        if settings.deduplicate:
            distinct = list(dict.fromkeys(fresh))
            report.repeated += len(fresh) - len(distinct)
            fresh = distinct
        asked.entries["train"] = fresh
        if "validation" not in collection.given:
            held = [held_out(groups[one.query].encode("utf-8"), settings.holdout) for one in fresh]
            asked.entries["validation"] = list(compress(fresh, held))
            asked.entries["train"] = list(compress(fresh, (not out for out in held)))
            report.held_out += sum(held)
    return asked


def _entries(
    collection: Collection,
    split: Split,
    queries: dict[str, dict[str, str]],
    known: Sized[str],
    report: FileReport,
) -> list[Entry]:
    """The lists of a split, with passages that are there, each once."""
    found: list[Entry] = []
    grades: dict[tuple[str, str], int] = {}
    for number, entry in enumerate(collection.entries(split), 1):
        if isinstance(entry, Broken):
            report.rows += 1
            report.note(f"first at row {entry.number} of {split}", entry.reason)
        elif entry.query not in queries:
            report.rows += 1
            reason = f"a query that is not among the queries ({ascii(entry.query)[:40]})"
            report.note(f"first in list {number} of {split}", reason)
        else:
            found.append(entry)
            for passage, grade in zip(entry.passages, entry.relevant, strict=True):
                if grade:
                    grades[entry.query, passage] = grade
    sound = (_sound(entry, grades, known, report) for entry in found)
    return [entry for entry in sound if entry.passages]


def _sound(
    entry: Entry, grades: dict[tuple[str, str], int], known: Sized[str], report: FileReport
) -> Entry:
    """A list without passages that are not there, or that are relevant and called negative."""
    kept, seen = [], set[str]()
    for passage, grade in zip(entry.passages, entry.relevant, strict=True):
        there = passage in known
        false = not grade and (passage in seen or (entry.query, passage) in grades)
        report.unknown += not there
        report.false_negatives += there and false
        kept.append(there and not false and passage not in seen)
        seen.add(passage)
    if all(kept):
        return entry
    return Entry(
        entry.query,
        tuple(compress(entry.passages, kept)),
        tuple(compress(entry.relevant, kept)),
        None if entry.scores is None else tuple(compress(entry.scores, kept)),
    )


def _allowed(
    entries: list[Entry],
    queries: dict[str, dict[str, str]],
    split: Split,
    settings: Settings,
    report: FileReport,
) -> list[Entry]:
    texts = [list(queries[entry.query].values()) for entry in entries]
    return list(compress(entries, allowed(texts, split, settings, report)))


def _fine(texts: list[Text], split: Split, settings: Settings, report: FileReport) -> list[Text]:
    return list(compress(texts, allowed([[row.text] for row in texts], split, settings, report)))


def _counted(rows: Iterator[Text | Broken], report: FileReport) -> Iterator[Text]:
    for row in rows:
        report.rows += 1
        if isinstance(row, Broken):
            report.note(f"first at row {row.number}", row.reason)
        else:
            yield row


def _group(texts: dict[str, str]) -> str:
    """The text by which a query is held out, so that copies of it go together."""
    return texts[min(texts)]


def languages_of(collections: Sequence[Collection], chosen: Chosen) -> list[str]:
    """Tags of all languages that are taken, sorted."""
    there = {tag for collection in collections for tag in collection.languages()}
    if chosen.queries is None or chosen.passages is None:
        return sorted(there)
    return sorted(there & {*chosen.queries, *chosen.passages})
