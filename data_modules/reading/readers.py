r"""Texts out of local files, one row at a time; what cannot be read is said, not skipped.

Lines end at \n or \r\n only: other Unicode line separators are text.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from data_modules.reading.cells import Broken as Broken
from data_modules.reading.cells import (
    Cell,
    cell_or_broken,
    column_number,
    column_texts,
    decoded,
    text_or_broken,
    written,
)
from data_modules.reading.cells import Row as Row
from data_modules.reading.file_kinds import FORMATS, file_stamp
from data_modules.reading.json_rows import has_twice
from lit_distill.errors import UserError

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_OPEN_QUOTE = "unexpected end of data"  # as the csv module says it
ROWS_AT_ONCE = 1000  # of a table, which may hold whole books

csv.field_size_limit(2**31 - 1)  # the module's own limit, 128 KiB, is shorter than many articles


class Reader(ABC):
    """Where texts come from."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For people."""

    @property
    @abstractmethod
    def stamp(self) -> str:
        """A text that changes when the rows do: the cache is keyed by it."""

    @property
    def unit(self) -> str:
        """What `Broken.number` counts."""
        return "row"

    @property
    def size(self) -> int:
        """About how many bytes of text there are, for progress bars; 0 where nobody knows."""
        return 0

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Every row in order: its text, or what is wrong with it.

        Raises:
            UserError: nothing at all can be read.
        """


@dataclass(frozen=True)
class FileReader(Reader):
    """One local file.

    Attributes:
        path: its suffix says what it is: .txt has one text a line; .jsonl, .csv and .parquet have
            it in a column.
        column: name of that column.
        limit: read at most so many rows.
        cell: what is taken of the column.
    """

    path: Path
    column: str = "text"
    limit: int | None = None
    cell: Cell = Cell.TEXT

    def __post_init__(self) -> None:
        if self._format not in FORMATS or (self._zipped and self._format == ".parquet"):
            raise UserError(
                f"{self.path} has the suffix {self.path.suffix or 'none'}: texts are read from "
                f"{', '.join(FORMATS)} (and .gz of the first three)."
            )

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def stamp(self) -> str:
        """Path, size, what tells one content from another, column."""
        return f"{self.path.resolve()} {file_stamp(self.path)} {self.column} {self.limit}"

    @property
    def unit(self) -> str:
        """Lines, but for parquet."""
        return "row" if self._format == ".parquet" else "line"

    @property
    def size(self) -> int:
        """Of the file as it is stored."""
        return self.path.stat().st_size

    @property
    def _zipped(self) -> bool:
        return self.path.suffix.lower() == ".gz"

    @property
    def _format(self) -> str:
        return Path(self.path.stem if self._zipped else self.path.name).suffix.lower()

    def rows(self) -> Iterator[Row]:
        """See `Reader.rows`."""
        try:
            if self._format == ".parquet":
                yield from islice(self._parquet(), self.limit)
                return
            with cast(IO[bytes], (gzip.open if self._zipped else open)(self.path, "rb")) as file:
                yield from islice(self._lines(file), self.limit)
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            raise UserError(f"{self.path} cannot be read to its end: {error}") from error

    def _lines(self, file: IO[bytes]) -> Iterator[Row]:
        first = file.readline()
        if first.startswith(UTF16_MARKS):
            raise UserError(
                f"{self.path} is UTF-16: convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)."
            )
        second = file.readline()
        if b"\r" in first.rstrip(b"\r\n") and (not second or self._format == ".csv"):
            raise UserError(
                f"{self.path} ends its lines with CR alone, as old Macs did, and is one line: "
                f"convert it (tr '\\r' '\\n' < {self.path.name} > ...)."
            )
        lines = _chain([first.removeprefix(b"\xef\xbb\xbf"), second], file)
        if self._format == ".csv":
            return self._csv(lines)
        parse = text_or_broken if self._format == ".txt" else self._json
        return (decoded(raw, number, parse) for number, raw in enumerate(lines, 1))

    def _json(self, line: Any, number: int) -> Row:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            return Broken(number, f"broken JSON ({error})")
        if not isinstance(row, dict):
            return Broken(number, "not a JSON object")
        if self.column not in row:
            return Broken(number, f"no {self.column!r}")
        if has_twice(line, self.column):
            return Broken(number, f"two {self.column!r}")
        return cell_or_broken(row[self.column], number, self.cell)

    def _csv(self, lines: Iterator[bytes]) -> Iterator[Row]:
        # Undecodable bytes become lone surrogates, which `text_or_broken` finds in the text column.
        decoded = (line.decode("utf-8", "surrogateescape") for line in lines)
        table = csv.reader(decoded, strict=True)  # else an open quote takes all rows behind it
        place = None
        while True:
            number = table.line_num + 1
            try:
                row = next(table, None)
            except csv.Error as error:
                if place is None or str(error) == _OPEN_QUOTE:
                    raise UserError(self._not_a_table(number, str(error))) from error
                yield Broken(number, f"broken CSV ({error})")
                continue
            if row is None:
                return
            if place is None:
                place = column_number(self.name, self.column, row)
            elif not row:
                yield Broken(number, "empty")
            elif place >= len(row):
                yield Broken(number, f"no {self.column!r}")
            else:
                yield cell_or_broken(written(row[place], self.cell), number, self.cell)

    def _not_a_table(self, number: int, error: str) -> str:
        if error == _OPEN_QUOTE:
            return (
                f"{self.path}: a quote that is opened in the row of line {number} is never closed, "
                "so that all behind it is one text. Close it, or write it twice where it is text."
            )
        return f"{self.path}: the header cannot be read as CSV ({error}): repair line {number}."

    def _parquet(self) -> Iterator[Row]:
        with pq.ParquetFile(self.path) as table:
            column_number(self.name, self.column, table.schema_arrow.names)
            parts = table.iter_batches(ROWS_AT_ONCE, columns=[self.column])
            yield from column_texts(self.name, (part.column(0) for part in parts), self.cell)


def _chain(first: list[bytes], rest: IO[bytes]) -> Iterator[bytes]:
    yield from filter(None, first)
    yield from rest
