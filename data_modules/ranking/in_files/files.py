"""What collections in files have in common, and their rows, column by column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from data_modules.ranking.collection import Collection
from data_modules.ranking.in_files.sources import RetrievalSource, language_files
from data_modules.reading.cells import Cell
from data_modules.reading.file_kinds import file_stamp
from data_modules.reading.readers import FileReader, Row
from data_modules.reading.sources import Paths
from data_modules.storing.tokenising import Split

FIELDS: dict[Split, str] = {"train": "files", "validation": "validation", "test": "test"}
"""The field of a source that names the files of a split."""


@dataclass(frozen=True)
class FileCollection(Collection):
    """What both forms have in common.

    Attributes:
        source: filled.
        root: where relative paths start.
    """

    source: RetrievalSource
    root: Path

    @property
    def name(self) -> str:
        """The folder, or the first files."""
        own = self.source
        return str(own.folder or own.files or own.validation or own.test or own.passages)

    @property
    def stamp(self) -> str:
        """The source, and what tells the content of each file from another."""
        return repr((self.source, [(str(path), file_stamp(path)) for path in self._paths]))

    @property
    def given(self) -> frozenset[Split]:
        """See `Collection.given`."""
        there = {split for split, name in FIELDS.items() if getattr(self.source, name) is not None}
        return frozenset(there | ({"train"} if self.source.lists is not None else set()))

    @property
    def _paths(self) -> list[Path]:
        own = self.source
        given = (own.passages, own.queries, own.lists, own.files, own.validation, own.test)
        patterns = [pattern for paths in given for pattern in listed_paths(paths or [])]
        tagged = [language_files(one, "any", None, self.root) for one in patterns]
        return [file.path for own in tagged for file in own]


def cells_of(
    path: Path, columns: Mapping[str, Cell], limit: int | None
) -> Iterator[dict[str, Row]]:
    """What every row of a file has in some columns, by name.

    Raises:
        UserError: the file cannot be read, or is a table without one of them.
    """
    readers = [FileReader(path, name, limit, cell).rows() for name, cell in columns.items()]
    for cells in zip(*readers, strict=True):
        yield dict(zip(columns, cells, strict=True))


def listed_paths(paths: Paths) -> list[str]:
    """One path or several, as a list."""
    return [paths] if isinstance(paths, str) else list(paths)
