r"""Texts out of files and hub datasets, one at a time; what cannot be read is said, not skipped.

Lines end at \n or \r\n only: other Unicode line separators are text.
"""

from __future__ import annotations

import csv
import gzip
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow.parquet as pq

from lit_distill.errors import UserError

FORMATS = (".txt", ".jsonl", ".csv", ".parquet")
"""Recognised suffixes; all but parquet also with .gz."""


@dataclass(frozen=True)
class Broken:
    """A row without a text, and why."""

    row: int
    reason: str


class Reader(ABC):
    """Where texts come from; `name` is for people, `stamp` changes when the texts do."""

    name: str

    @property
    @abstractmethod
    def stamp(self) -> str:
        """What the cache is keyed by."""

    @abstractmethod
    def rows(self) -> Iterator[str | Broken]:
        """Every row: its text, or what is wrong with it. Row numbers start at 1."""


@dataclass(frozen=True)
class FileReader(Reader):
    """One local file.

    Attributes:
        path: its suffix says what it is: .txt has one text a line; .jsonl, .csv and .parquet have
            it in a column.
        column: name of that column.
    """

    path: Path
    column: str = "text"

    def __post_init__(self) -> None:
        if self._format not in FORMATS:
            raise UserError(
                f"{self.path} has the suffix {self.path.suffix or 'none'}: texts are read from "
                f"{', '.join(FORMATS)} (and .gz of the first three)."
            )

    @property
    def name(self) -> str:  # type: ignore[override]
        """The path."""
        return str(self.path)

    @property
    def stamp(self) -> str:
        """Path, size, time of the last change, column."""
        status = self.path.stat()
        where = self.path.resolve()
        return f"{where} {status.st_size} {status.st_mtime_ns} {self.column}"

    @property
    def _format(self) -> str:
        suffixes = self.path.suffixes
        return suffixes[-2] if suffixes[-1:] == [".gz"] and suffixes[1:] else self.path.suffix

    def rows(self) -> Iterator[str | Broken]:
        """See `Reader.rows`."""
        if self._format == ".parquet":
            yield from self._parquet()
            return
        opener = gzip.open if self.path.suffix == ".gz" else open
        with cast(BinaryIO, opener(self.path, "rb")) as file:
            if self._format == ".csv":
                yield from self._csv(file)
                return
            parse = _text if self._format == ".txt" else self._json
            for number, raw in enumerate(file, 1):
                yield _decoded(raw, number, parse)

    def _json(self, line: str, number: int) -> str | Broken:
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            return Broken(number, f"broken JSON ({error.msg})")
        if not isinstance(row, dict):
            return Broken(number, "not a JSON object")
        return _field(row, self.column, number)

    def _csv(self, file: BinaryIO) -> Iterator[str | Broken]:
        lines = (
            raw.decode("utf-8-sig" if n == 0 else "utf-8", "replace") for n, raw in enumerate(file)
        )
        table = csv.DictReader(lines)
        if table.fieldnames is not None and self.column not in table.fieldnames:
            raise UserError(_no_column(self.name, self.column, list(table.fieldnames)))
        for number, row in enumerate(table, 2):
            value = _field(row, self.column, number)
            damaged = isinstance(value, str) and "\ufffd" in value
            yield Broken(number, "not UTF-8") if damaged else value

    def _parquet(self) -> Iterator[str | Broken]:
        try:
            table = pq.ParquetFile(self.path)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path} is no readable parquet file: {error}") from error
        with table:
            names = table.schema_arrow.names
            if self.column not in names:
                raise UserError(_no_column(self.name, self.column, names))
            number = 0
            for part in table.iter_batches(columns=[self.column]):
                for value in part.column(0).to_pylist():
                    number += 1
                    yield _field({self.column: value}, self.column, number)


@dataclass(frozen=True)
class HubReader(Reader):
    """One split of a dataset on the hub, or of a local folder in the same format.

    Attributes:
        dataset: hub name or folder.
        config: name of the configuration (often a language).
        split: "train", or a slice such as "train[:1%]" (not with streaming).
        revision: branch, tag or commit; pin it for runs that others should repeat.
        column: the column with the text.
        streaming: read over the network instead of downloading first.
        limit: read at most so many rows.
    """

    dataset: str
    config: str | None
    split: str
    revision: str | None
    column: str
    streaming: bool = False
    limit: int | None = None

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name, configuration and split."""
        return " ".join(part for part in (self.dataset, self.config, self.split) if part)

    @property
    def stamp(self) -> str:
        """All that was asked for; a branch that moves needs a pinned revision to be noticed."""
        return repr(self)

    def rows(self) -> Iterator[str | Broken]:
        """See `Reader.rows`."""
        table = self._open()
        if table.column_names is not None and self.column not in table.column_names:
            raise UserError(_no_column(self.name, self.column, table.column_names))
        for number, row in enumerate(table, 1):
            if self.limit is not None and number > self.limit:
                return
            yield _field(row, self.column, number)

    def _open(self) -> Any:
        from datasets import load_dataset

        try:
            return load_dataset(
                self.dataset,
                self.config,
                split=self.split,
                revision=self.revision,
                streaming=self.streaming,
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise UserError(
                f"The dataset {self.name} could not be opened: {reason} Check the name, the "
                "configuration and the split, or give local files (`files:`)."
            ) from error


def _decoded(raw: bytes, number: int, parse: Any) -> str | Broken:
    try:
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        return Broken(number, f"not UTF-8 (byte {error.start})")
    line = line.removesuffix("\n").removesuffix("\r")
    if not line.strip():
        return Broken(number, "empty")
    return cast("str | Broken", parse(line, number))


def _text(line: str, number: int) -> str | Broken:
    del number
    return line


def _field(row: Any, column: str, number: int) -> str | Broken:
    value = row.get(column)
    if value is None:
        return Broken(number, f"no {column!r}")
    if not isinstance(value, str):
        return Broken(number, f"{column!r} is no text but {type(value).__name__}")
    return value if value.strip() else Broken(number, "empty")


def _no_column(name: str, column: str, there: list[str]) -> str:
    return (
        f"{name} has no column {column!r}; it has {', '.join(there)}. Set `column:` of the source."
    )
