"""From collections to stores of texts and tables of lists, once.

P passages and Q queries in up to L languages, each text a window; E lists, X examples.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_modules.ranking.collection import Collection, Entry, Text
from data_modules.ranking.gathering import Chosen, asked_of, languages_of, passages_of
from data_modules.ranking.scores import read_scores, with_scores
from data_modules.ranking.stored import COPIES, COUNTS, LISTS, PASSAGES, QUERIES, RELEVANT, SCORES
from data_modules.recording.text_record import TextRecord
from data_modules.storing.corpus_report import FileReport, check_broken
from data_modules.storing.token_store import StoreWriter
from data_modules.storing.tokenising import SPLITS, Settings
from data_modules.text.framing import Frame
from data_modules.text.markers import engine


@dataclass(frozen=True)
class Prefixes:
    """What stands before every text.

    Attributes:
        query: as "query: " does for E5.
        passage: as "passage: " does.
    """

    query: str = ""
    passage: str = ""


@dataclass(frozen=True)
class Writing:
    """How texts become tokens and what is taken.

    Attributes:
        tokenizer: a fast one.
        frame: special tokens around every text.
        prefixes: before it.
        query_length: most tokens of a query; of a passage that is `max_length` of the settings.
        chosen: languages.
        scores: folder with a teacher's scores; None: what rows have.
    """

    tokenizer: Any
    frame: Frame
    prefixes: Prefixes
    query_length: int
    chosen: Chosen
    scores: Path | None


def write_lists(
    collections: Sequence[Collection],
    writing: Writing,
    settings: Settings,
    max_broken: float,
    folder: Path,
) -> list[FileReport]:
    """Writes passages, the splits train, validation and test, and report.json into a new folder.

    Args:
        collections: of all sources; ids of one are not those of another.
        writing: see `Writing`.
        settings: of the corpus.
        max_broken: share of broken rows of a collection above which the run stops.
        folder: does not exist yet.

    Raises:
        UserError: a file cannot be read or has too many broken rows, or scores do not fit.
    """
    writer = _Writer(folder, languages_of(collections, writing.chosen), writing, settings)
    reports = list[FileReport]()
    for number, collection in enumerate(collections):
        report = FileReport(collection.name, " ".join(collection.languages()))
        reports.append(report)
        writer.add(number, collection, report)
        check_broken([report], max_broken)
    writer.close()
    text = json.dumps([asdict(report) for report in reports], ensure_ascii=False, indent=1)
    (folder / "report.json").write_text(text, "utf-8")
    return reports


class _Writer:
    """Passages, and the queries and lists of every split."""

    def __init__(
        self, folder: Path, names: list[str], writing: Writing, settings: Settings
    ) -> None:
        before, long = writing.prefixes, settings.max_length
        self._passages = _Texts(folder / PASSAGES, names, writing, before.passage, long)
        self._queries = {
            split: _Texts(folder / split, names, writing, before.query, writing.query_length)
            for split in SPLITS
        }
        self._lists = {split: _Lists(folder / split) for split in SPLITS}
        self._writing, self._settings, self._folder = writing, settings, folder
        self._record = TextRecord(SPLITS)
        self._scores = None if writing.scores is None else read_scores(writing.scores)

    def add(self, number: int, collection: Collection, report: FileReport) -> None:
        """Adds the collection of a source with its number."""
        chosen, known = self._writing.chosen, dict[str, int]()
        for part in passages_of(collection, chosen, self._settings, report):
            self._passages.add(part, known, report)
            self._record.note({"train": [(0, text.text) for text in part]})
        asked = asked_of(collection, known, chosen, self._settings, report)
        if self._scores is not None and self._writing.scores is not None:
            with_scores(asked, number, self._scores, self._writing.scores)
        for split in SPLITS:
            own = dict.fromkeys(entry.query for entry in asked.entries[split])
            said = [Text(q, tag, text) for q in own for tag, text in asked.queries[q].items()]
            numbers: dict[str, int] = {}
            self._queries[split].add(said, numbers, report)
            self._lists[split].add(asked.entries[split], numbers, known)
            self._record.note({split: [(0, text.text) for text in said]})

    def close(self) -> None:
        """Writes what is left."""
        self._passages.close()
        for split in SPLITS:
            self._queries[split].close()
            self._lists[split].close()
        self._record.write(self._folder)


class _Texts:
    """Texts of one kind: their windows, and which of them are one text in several languages."""

    def __init__(
        self, folder: Path, names: list[str], writing: Writing, prefix: str, max_length: int
    ) -> None:
        size = max(writing.tokenizer.get_vocab().values()) + 1
        self._store, self._folder = StoreWriter(folder, names, size), folder
        self._names, self._frame, self._prefix = names, writing.frame, prefix
        self._room = writing.frame.room(max_length) - len(writing.frame.end)
        self._engine = engine(writing.tokenizer)
        self._copies: list[tuple[int, int, int]] = []
        self._windows = self._numbers = 0

    def add(self, texts: Sequence[Text], numbers: dict[str, int], report: FileReport) -> None:
        """Adds texts, and to `numbers` those of ids that are new; what is too long is cut."""
        for place, language in enumerate(self._names):
            own = [text for text in texts if text.language == language]
            said = [self._prefix + text.text for text in own]
            found = self._engine.encode_batch_fast(said, add_special_tokens=False)
            bare = self._engine.encode_batch_fast(
                [text.text for text in own] if self._prefix else [], add_special_tokens=False
            )
            read = [one.ids for one in (bare or found)]
            rows: list[list[int]] = []
            for text, encoding, words in zip(own, found, read, strict=True):
                if not words:
                    report.note("first", f"no tokens ({ascii(text.text)[:40]})")
                    continue
                report.cut += len(encoding.ids) > self._room
                inner = encoding.ids[: self._room]
                frame = self._frame
                rows.append([*frame.before, *inner, *frame.after, *frame.end])
                if text.id not in numbers:
                    numbers[text.id] = self._numbers
                    self._numbers += 1
                self._copies.append((numbers[text.id], place, self._windows))
                self._windows += 1
            if rows:
                lengths = np.array([len(row) for row in rows], dtype=np.int64)
                ids = np.concatenate([np.array(row, dtype=np.int32) for row in rows])
                self._store.add(ids, lengths, place)

    def close(self) -> None:
        """Writes what is left."""
        self._store.close()
        copies = np.full((self._numbers, len(self._names)), -1, dtype=np.int32)
        for number, place, window in self._copies:
            copies[number, place] = window
        _save(self._folder / COPIES, copies, np.int32)


class _Lists:
    """The lists of one split."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._flat: dict[str, list[Any]] = {LISTS: [], RELEVANT: [], SCORES: []}
        self._queries: list[int] = []
        self._counts: list[int] = []

    def add(self, entries: Sequence[Entry], queries: dict[str, int], known: dict[str, int]) -> None:
        """Adds lists; those of a query without tokens are left out."""
        for entry in entries:
            if entry.query in queries:
                self._queries.append(queries[entry.query])
                self._counts.append(len(entry.passages))
                self._flat[LISTS] += [known[passage] for passage in entry.passages]
                self._flat[RELEVANT] += entry.relevant
                self._flat[SCORES] += entry.scores or [np.nan] * len(entry.passages)

    def close(self) -> None:
        """Writes what is left."""
        for name, kind in ((LISTS, np.int64), (RELEVANT, np.int64), (SCORES, np.float32)):
            _save(self._folder / name, self._flat[name], kind)
        _save(self._folder / QUERIES, self._queries, np.int64)
        _save(self._folder / COUNTS, self._counts, np.int64)


def _save(path: Path, values: Any, kind: Any) -> None:
    array: NDArray[Any] = np.array(values, dtype=kind)
    np.save(path, array, allow_pickle=False)
