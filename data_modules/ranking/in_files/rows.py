"""Collections of rows that hold their texts: a query, what is relevant, and what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from data_modules.ranking.collection import Entry, Text
from data_modules.ranking.in_files.files import FIELDS, FileCollection, cells_of
from data_modules.ranking.in_files.sources import LanguageFile, column_languages, language_files
from data_modules.reading.cells import Broken, Cell
from data_modules.reading.readers import Row
from data_modules.storing.tokenising import SPLITS, Split


@dataclass(frozen=True)
class Rows(FileCollection):
    """Rows of a query with texts, which are known by what they say or by the row's id.

    With ids, rows of one id in several languages are one: their query and their n-th passages say
    the same.
    """

    def languages(self) -> list[str]:
        """See `Collection.languages`."""
        files = [file for split in SPLITS for file in self._files_of(split)]
        own = self.source
        found = column_languages(files, own.language_column)
        if own.query_language_column:
            paths = [LanguageFile(file.path, None) for file in files]
            found |= column_languages(paths, own.query_language_column)
        return sorted(found | ({own.query_language} if own.query_language else set()))

    def _files_of(self, split: Split) -> list[LanguageFile]:
        own = self.source
        paths = getattr(own, FIELDS[split])
        if paths is None:
            return []
        return language_files(paths, own.language, own.language_column, self.root)

    def passages(self) -> Iterator[Text | Broken]:
        """See `Collection.passages`; what is broken, the entries say."""
        for split in SPLITS:
            for row in self._rows(split):
                if isinstance(row, _Row):
                    for name, text in zip(row.entry.passages, row.texts, strict=True):
                        yield Text(name, row.language, text)

    def queries(self) -> Iterator[Text | Broken]:
        """See `Collection.queries`."""
        for split in SPLITS:
            for row in self._rows(split):
                if isinstance(row, _Row):
                    yield Text(row.entry.query, row.query_language, row.query)

    def entries(self, split: Split) -> Iterator[Entry | Broken]:
        """See `Collection.entries`; of rows with one id, the first."""
        seen = set()
        for row in self._rows(split):
            if isinstance(row, Broken):
                yield row
            elif self.source.id is None or row.entry.query not in seen:
                seen.add(row.entry.query)
                yield row.entry

    def _rows(self, split: Split) -> Iterator[_Row | Broken]:
        own = self.source
        for file in self._files_of(split):
            cells = {own.query: Cell.TEXT, own.positive: Cell.VALUE}
            cells |= {name: Cell.VALUE for name in (own.negatives, own.row_scores) if name}
            cells |= {own.id: Cell.NAME} if own.id else {}
            language = None if file.language else own.language_column
            spoken = own.query_language_column
            cells |= {name: Cell.TEXT for name in (language, spoken) if name}
            for number, row in enumerate(cells_of(file.path, cells, own.limit), 1):
                try:
                    yield self._row(row, file.language)
                except ValueError as error:
                    yield Broken(number, str(error))

    def _row(self, row: Mapping[str, Row], language: str | None) -> _Row:
        """A row as it is meant.

        Raises:
            ValueError: with what is wrong with it.
        """
        own = self.source
        positives, negatives = _texts(row, own.positive), []
        if not positives:
            raise ValueError("no positive text")
        if own.negatives and not _absent(row[own.negatives]):
            negatives = _texts(row, own.negatives)
        query, texts = _cell(row, own.query), [*positives, *negatives]
        tag = language or _cell(row, str(own.language_column))
        asked = own.query_language or tag
        if own.query_language_column:
            asked = _cell(row, own.query_language_column)
        if own.id is None:
            name, ids = _mark(query), [_mark(text) for text in texts]
        else:
            name = _cell(row, own.id)
            ids = [f"{name}/{place}" for place in range(len(texts))]
        scores = None
        if own.row_scores:
            scores = _numbers(row, own.row_scores, len(texts))
        grades = (1,) * len(positives) + (0,) * len(negatives)
        return _Row(query, asked, tag, texts, Entry(name, tuple(ids), grades, scores))


@dataclass(frozen=True)
class _Row:
    query: str
    query_language: str
    language: str
    texts: list[str]
    entry: Entry


def _cell(row: Mapping[str, Row], column: str) -> str:
    """The text of a column that a row must have.

    Raises:
        ValueError: there is none.
    """
    cell = row[column]
    if isinstance(cell, Broken):
        named = cell.reason if "'" in cell.reason else f"{column!r} {cell.reason}"
        raise ValueError(named)
    return cell


def _absent(cell: Row) -> bool:
    """Whether a row does not have a column, or null in it."""
    return cell.reason.startswith("no '") if isinstance(cell, Broken) else cell == "null"


def _texts(row: Mapping[str, Row], column: str) -> list[str]:
    """The texts of a column with one or a list of them; without empty ones.

    Raises:
        ValueError: it holds something else.
    """
    value = json.loads(_cell(row, column))
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{column!r} holds no texts ({ascii(value)[:30]})")
    return [text for text in texts if text.strip()]


def _numbers(row: Mapping[str, Row], column: str, count: int) -> tuple[float, ...]:
    """The numbers of a column, one for each text.

    Raises:
        ValueError: there are others.
    """
    value = json.loads(_cell(row, column))
    numbers = value if isinstance(value, list) else [value]
    if not all(type(number) in (int, float) for number in numbers) or len(numbers) != count:
        raise ValueError(f"{column!r} has no score for each text ({len(numbers)} for {count})")
    return tuple(float(number) for number in numbers)


def _mark(text: str) -> str:
    return blake2b(text.encode("utf-8"), digest_size=12).hexdigest()
