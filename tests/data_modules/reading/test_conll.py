"""CoNLL files: sentences by empty lines, columns by number, what is broken by its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from data_modules.reading.cells import Broken
from data_modules.reading.conll import ConllReader
from lit_distill.errors import UserError

TEXT = """-DOCSTART- -X- O

# sent_id = 1
Anna NNP B-PER
#tag NN O
# SYM O

runs VBZ O
"""


def read(path: Path, column: int = 1, limit: int | None = None) -> list:
    found = ConllReader(path, column, limit).rows()
    return [row if isinstance(row, Broken) else json.loads(row) for row in found]


def test_columns_are_numbered_from_either_end(tmp_path: Path) -> None:
    path = tmp_path / "x.conll"
    for text in (TEXT, "\ufeff" + TEXT.replace("\n", "\r\n"), TEXT.rstrip("\n")):
        path.write_bytes(text.encode())
        assert read(path) == [["Anna", "#tag", "#"], ["runs"]]
        assert read(path, -1) == read(path, 3) == [["B-PER", "O", "O"], ["O"]]
        assert read(path, limit=1) == [["Anna", "#tag", "#"]]
    zipped = tmp_path / "x.bio.gz"
    zipped.write_bytes(gzip.compress(TEXT.encode()))
    assert read(zipped, 2) == [["NNP", "NN", "SYM"], ["VBZ"]]


def test_tabs_part_columns_where_there_are_any(tmp_path: Path) -> None:
    path = tmp_path / "x.iob2"
    path.write_text("# a b\n1\tNew York\tB-LOC\n2\t#\tO\n", "utf-8")
    assert read(path, 2) == [["New York", "#"]]


def test_tokens_of_several_words_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.conllu"
    path.write_text("1-2\tzum\t_\n1\tzu\tADP\n2\tdem\tDET\n2.1\tx\tX\n", "utf-8")
    assert read(path, 2) == [["zu", "dem"]]


def test_broken_columns_are_told_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "x.conll"
    path.write_text("a X\nb Y\n\nc\n\nd Z\n\ne\t\n", "utf-8")
    assert read(path) == [
        ["a", "b"], Broken(4, "broken columns (1 columns, and line 1 has 2)"), ["d"], ["e"],
    ]  # fmt: skip
    assert read(path, 2)[3] == Broken(8, "broken columns (column 2 is empty)")
    path.write_bytes(b"a X\n\n\xff X\nb X\n\nc X\n")
    assert read(path) == [["a"], Broken(3, "not UTF-8 (byte 0)"), ["c"]]


@pytest.mark.parametrize("column", [0, 3, -3])
def test_a_column_that_is_not_there_ends_the_run(tmp_path: Path, column: int) -> None:
    path = tmp_path / "x.conll"
    path.write_text("\n\na X\n", "utf-8")
    with pytest.raises(UserError, match=rf"line 3 has 2 columns and there is no column {column}"):
        read(path, column)
