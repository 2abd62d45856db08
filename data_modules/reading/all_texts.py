"""Everything in a file that is text, whatever its columns are called."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_modules.reading.conll import CONLL
from data_modules.reading.file_patterns import LANGUAGE, files_of, languages_of
from data_modules.reading.readers import ROWS_AT_ONCE
from lit_distill.errors import UserError

_WHOLE = re.compile(r"-DOCSTART-|\d+[-.]\d+\t")
"""Lines of no word: the begin of a document, a token of several words, an empty node."""


def files_for_all(pattern: str, root: Path) -> list[Path]:
    """The files of a pattern, in which `{language}` stands for all there are.

    Raises:
        UserError: there is none.
    """
    tags = sorted(languages_of(pattern, root)) if LANGUAGE in pattern else []
    filled = [pattern.replace(LANGUAGE, tag) for tag in tags] or [pattern]
    return [path for one in filled for path in files_of(one, root)]


def texts_in(path: Path) -> Iterator[str]:
    """Every text of a file: lines of .txt, of tables all cells, of CoNLL sentences all columns.

    Lists of texts (a sentence's words) are one text, joined.

    Raises:
        UserError: a part of it cannot be read, and would be missing unseen.
    """
    kind = Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()
    try:
        if kind == ".parquet":
            with pq.ParquetFile(path) as table:
                for part in table.iter_batches(ROWS_AT_ONCE):
                    for row in part.to_pylist():
                        yield from _texts(row.values())
            return
        opened = gzip.open if path.suffix.lower() == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig", newline="\n") as file:
            if kind == ".csv":
                for cells in csv.reader(file, strict=True):
                    yield from _texts(cells)
            elif kind == ".jsonl":
                for line in file:
                    row = json.loads(line) if line.strip() else {}
                    yield from _texts(row.values() if isinstance(row, dict) else [row])
            elif kind == ".txt":
                yield from _texts(file)
            elif kind in CONLL:
                yield from _columns(file)
            else:
                raise ValueError("texts are read from .txt, .jsonl, .csv, .parquet and CoNLL files")
    except (OSError, EOFError, zlib.error, ValueError, RecursionError, csv.Error) as error:
        raise _unread(path, error) from error
    except pa.ArrowException as error:
        raise _unread(path, error) from error


def _texts(cells: Any) -> Iterator[str]:
    for cell in cells:
        if isinstance(cell, list) and all(isinstance(word, str) for word in cell):
            cell = " ".join(cell)
        if isinstance(cell, str) and cell.strip():
            yield cell


def _columns(lines: Iterable[str]) -> Iterator[str]:
    """Of every sentence of a CoNLL file each column, joined, and what comments say it is."""
    for empty, sentence in groupby(lines, key=lambda line: not line.strip()):
        words = []
        for line in [] if empty else sentence:
            if line.startswith("# "):
                yield line.partition(" = ")[2]
            elif not _WHOLE.match(line):
                words.append(line.split("\t") if "\t" in line else line.split())
        yield from (" ".join(column) for column in zip_longest(*words, fillvalue=""))


def _unread(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} cannot be read to its end ({error}), so that not all of its texts can be left "
        "out: repair it, or take it from data.init_args.exclude."
    )
