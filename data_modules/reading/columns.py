"""Rows of several columns of a file or hub set, and of which language each row is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from data_modules.reading.file_patterns import LANGUAGE, files_of
from data_modules.reading.readers import Broken, FileReader, Reader
from data_modules.reading.sources import Origin
from lit_distill.errors import UserError

Source = TypeVar("Source", bound=Origin)


class RowText(str):
    """A row of several columns; everywhere else it is one text.

    Attributes:
        group: rows with an equal one are held out together.
    """

    group: str

    @property
    @abstractmethod
    def identity(self) -> str:
        """What makes two rows repeats of each other."""

    @property
    def texts(self) -> tuple[str, ...]:
        """What is read of it, text by text: a row is known by each."""
        return (self,)


def texts_of(row: str) -> tuple[str, ...]:
    """The texts of a row: itself, or of several columns what each says."""
    return row.texts if isinstance(row, RowText) else (row,)


@dataclass(frozen=True)
class ColumnsReader(Reader):
    """Reads the columns of a file or split side by side.

    Attributes:
        columns: name and reader of each.
    """

    columns: tuple[tuple[str, Reader], ...]

    @property
    def name(self) -> str:
        """The name of the file or split."""
        return self.first.name

    @property
    def unit(self) -> str:
        """As of the columns."""
        return self.first.unit

    @property
    def size(self) -> int:
        """As of one column, which is the whole file's."""
        return self.first.size

    @property
    def first(self) -> Reader:
        """Reads the first column."""
        return self.columns[0][1]

    def cells(self) -> Iterator[dict[str, str | Broken]]:
        """What every row has in the columns, by name."""
        names = [name for name, _ in self.columns]
        for cells in zip(*(reader.rows() for _, reader in self.columns), strict=True):
            yield dict(zip(names, cells, strict=True))


def by_language(source: Source, column: str | None, root: Path) -> Sequence[Source]:
    """A source for each language of its column; the source itself where it has no such column.

    Raises:
        UserError: the languages are given otherwise as well, or cannot be found.
    """
    if column is None:
        return [source]
    if source.language or LANGUAGE in str((source.files, source.config)):
        raise UserError(
            f"A source has language_column: {column} and also a `language` or {LANGUAGE} in its "
            "files: give one of them."
        )
    languages = source.languages
    if not languages and source.files is None:
        raise UserError(
            f"The source of {source.dataset} has language_column: {column}; list the `languages` "
            "as well, since the whole dataset would have to be read to find them."
        )
    if not languages:
        files = [source.files] if isinstance(source.files, str) else source.files or []
        paths = [path for pattern in files for path in files_of(pattern, root)]
        cells = (cell for path in paths for cell in FileReader(path, column, source.limit).rows())
        languages = sorted({cell for cell in cells if isinstance(cell, str)})
    if not languages:
        raise UserError(f"No row has a language in the column {column!r} of {source.files}.")
    return [replace(source, language=language, languages=None) for language in languages]
