"""Collections with ids: passages, queries and judgements apart, as BEIR and MTEB have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data_modules.ranking.collection import Entry, Text
from data_modules.ranking.in_files.files import FIELDS, FileCollection, cells_of, listed_paths
from data_modules.ranking.in_files.judgements import judged, listed, of_lists
from data_modules.ranking.in_files.sources import LanguageFile, column_languages, language_files
from data_modules.reading.cells import Broken, Cell
from data_modules.reading.file_patterns import files_of
from data_modules.reading.readers import Row
from data_modules.reading.sources import Paths
from data_modules.storing.tokenising import SPLITS, Split


@dataclass(frozen=True)
class Folder(FileCollection):
    """Passages, queries and judgements apart, joined by ids."""

    def languages(self) -> list[str]:
        """See `Collection.languages`."""
        passages = column_languages(self._passages, self.source.language_column)
        queries = column_languages(self._queries, self.source.query_language_column)
        return sorted(passages | queries)

    @cached_property
    def _passages(self) -> list[LanguageFile]:
        own = self.source
        assert own.passages is not None
        return language_files(own.passages, own.language, own.language_column, self.root)

    @cached_property
    def _queries(self) -> list[LanguageFile]:
        own = self.source
        assert own.queries is not None
        language = own.query_language or own.language
        return language_files(own.queries, language, own.query_language_column, self.root)

    def passages(self) -> Iterator[Text | Broken]:
        """See `Collection.passages`; a title stands before the text, as BEIR reads it."""
        yield from self._texts(self._passages, self.source.language_column, self.source.title)

    def queries(self) -> Iterator[Text | Broken]:
        """See `Collection.queries`."""
        yield from self._texts(self._queries, self.source.query_language_column, None)

    def _texts(
        self, files: list[LanguageFile], column: str | None, title: str | None
    ) -> Iterator[Text | Broken]:
        own = self.source
        for file in files:
            cells = {own.id or "_id": Cell.NAME, own.text: Cell.TEXT}
            cells |= {name: Cell.TEXT for name in (title, file.language is None and column) if name}
            for number, row in enumerate(cells_of(file.path, cells, own.limit), 1):
                yield self._text(row, number, file.language, column, title)

    def _text(
        self,
        row: Mapping[str, Row],
        number: int,
        language: str | None,
        column: str | None,
        title: str | None,
    ) -> Text | Broken:
        name, text = row[self.source.id or "_id"], row[self.source.text]
        spoken = language or row[str(column)]
        head = row[title] if title else ""
        if isinstance(head, str) and head:  # which may be all that a passage has
            text = f"{head} {text}" if isinstance(text, str) else head
        for cell in (name, text, spoken):
            if isinstance(cell, Broken):
                return Broken(number, cell.reason)
        return Text(str(name), str(spoken), str(text))

    def entries(self, split: Split) -> Iterator[Entry | Broken]:
        """See `Collection.entries`."""
        own, grades = self.source, dict[Split, dict[str, dict[str, int]]]()
        for one in SPLITS:
            grades[one] = {}
            for path in self._of(getattr(own, FIELDS[one])):
                for row in judged(path):
                    if isinstance(row, Broken):
                        if one == split:
                            yield row
                        continue
                    grades[one].setdefault(row[0], {})[row[1]] = row[2]
        lists: dict[str, list[str]] = {}
        for path in self._of(own.lists):
            for listing in listed(path):
                if isinstance(listing, Broken):
                    if split == "train":
                        yield listing
                    continue
                lists[listing[0]] = listing[1]
        elsewhere = {query for one in SPLITS if one != split for query in grades[one]}
        if split != "train":  # lists without judgements are trained on
            elsewhere |= {query for query in lists if query not in grades[split]}
        yield from of_lists(
            grades[split], {query: own for query, own in lists.items() if query not in elsewhere}
        )

    def _of(self, paths: Paths | None) -> list[Path]:
        found = [files_of(pattern, self.root) for pattern in listed_paths(paths or [])]
        return [path for own in found for path in own]
