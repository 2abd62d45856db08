"""Sentences out of CoNLL files: a word a line with its columns, an empty line after a sentence."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, cast

from data_modules.reading.cells import Broken, Row
from data_modules.reading.file_kinds import file_stamp
from data_modules.reading.readers import UTF16_MARKS, Reader
from lit_distill.errors import UserError

CONLL = (".conll", ".conllu", ".iob2", ".bio", ".txt")
"""Suffixes of such files; all also with .gz."""

_DOCUMENT = "-DOCSTART-"
_COMMENT = re.compile(r"#( |$)|#\S*$")
_NO_WORD = re.compile(r"\d+[-.]\d+\t")  # of .conllu: a token of several words, an empty node
Line = tuple[int, list[str]]
"""A number from 1, and the columns."""


def is_conll(path: Path) -> bool:
    """Whether a file is one by its suffix."""
    return Path(path.name.lower().removesuffix(".gz")).suffix in CONLL


@dataclass(frozen=True)
class ConllReader(Reader):
    """One column of a CoNLL file: of every sentence the list of its cells, in JSON.

    Columns are parted by tabs, or in lines without one by white space. Comments (a line with "# "
    before a sentence's first word), "-DOCSTART-" and, of CoNLL-U, tokens of several words and empty
    nodes are passed over. A sentence in which a line has another number of columns than the file's
    first one is broken.

    Attributes:
        path: the file.
        column: its number, from 1; from the end, where it is negative.
        limit: read at most so many sentences.
    """

    path: Path
    column: int
    limit: int | None = None

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def stamp(self) -> str:
        """Path, size, what tells one content from another, column."""
        return f"conll {self.path.resolve()} {file_stamp(self.path)} {self.column} {self.limit}"

    @property
    def unit(self) -> str:
        """Lines; of a broken sentence the line that breaks it."""
        return "line"

    @property
    def size(self) -> int:
        """Of the file as it is stored."""
        return self.path.stat().st_size

    def rows(self) -> Iterator[Row]:
        """See `Reader.rows`."""
        try:
            opened = gzip.open if self.path.suffix.lower() == ".gz" else open
            with cast(IO[bytes], opened(self.path, "rb")) as file:
                yield from islice(self._rows(file), self.limit)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{self.path} cannot be read to its end: {error}") from error

    def _rows(self, file: IO[bytes]) -> Iterator[Row]:
        first: Line | None = None
        for sentence in _sentences(self.path, file):
            if isinstance(sentence, Broken):
                yield sentence
                continue
            first = first or self._checked(sentence[0])
            yield self._row(sentence, first)

    def _checked(self, line: Line) -> Line:
        """The first line of the file, which has the column."""
        number, cells = line
        if not (self.column and -len(cells) <= self.column <= len(cells)):
            raise UserError(
                f"{self.path}: line {number} has {len(cells)} columns and there is no column "
                f"{self.column}: give the numbers of the words' and the tags' column, from 1 or "
                "from the end (token_column and tag_column of the source)."
            )
        return line

    def _row(self, sentence: list[Line], first: Line) -> Row:
        for number, cells in sentence:
            if len(cells) != len(first[1]):
                there = f"{len(cells)} columns, and line {first[0]} has {len(first[1])}"
                return Broken(number, f"broken columns ({there})")
        place = self.column - (self.column > 0)
        column = [cells[place].strip() for _, cells in sentence]
        if "" in column:
            number = sentence[column.index("")][0]
            return Broken(number, f"broken columns (column {self.column} is empty)")
        return json.dumps(column, ensure_ascii=False)


def _sentences(path: Path, file: IO[bytes]) -> Iterator[list[Line] | Broken]:
    sentence: list[Line] = []
    trouble: Broken | None = None
    universal = ".conllu" in path.suffixes[-2:]
    for number, raw in enumerate(chain(file, [b"\n"]), 1):
        if number == 1 and raw.startswith(UTF16_MARKS):
            raise UserError(f"{path} is UTF-16: convert it to UTF-8 (iconv -f UTF-16 -t UTF-8).")
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            trouble = trouble or Broken(number, f"not UTF-8 (byte {error.start})")
            continue
        if line.startswith(_DOCUMENT) or (universal and _NO_WORD.match(line)):
            continue
        if line.strip():
            if sentence or "\t" in line or not _COMMENT.match(line):
                sentence.append((number, line.split("\t") if "\t" in line else line.split()))
        elif sentence or trouble:
            yield trouble or sentence
            sentence, trouble = [], None
