"""Every format, and everything that can be wrong in a file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_modules.reading.readers import Broken, FileReader
from lit_distill.errors import UserError


def read(path: Path, column: str = "text") -> list[str | Broken]:
    return list(FileReader(path, column).rows())


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufefferste\r\nzwei\u2028te\nनमस्ते\x85\ndrei".encode())
    assert read(path) == ["erste", "zwei\u2028te", "नमस्ते\x85", "drei"]


def test_bad_bytes_and_empty_lines_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"good\n\xff\xfe\n\n   \nlast\n")
    assert read(path) == [
        "good", Broken(2, "not UTF-8 (byte 0)"), Broken(3, "empty"), Broken(4, "empty"), "last",
    ]  # fmt: skip


def test_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": \n["a"]\n{"t": 1}\n{"text": 3}\n{"text": " "}\n')
    first, *broken = read(path)
    assert first == "a"
    reasons = [row.reason for row in broken if isinstance(row, Broken)]
    assert reasons[0].startswith("broken JSON")
    assert reasons[1:] == ["not a JSON object", "no 'text'", "no text (int)", "empty"]
    assert [row.number for row in broken if isinstance(row, Broken)] == [2, 3, 4, 5, 6]


def test_csv_and_gz(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('id,body\n1,"two\nlines, quoted"\n2,\n3,\xc3\xa4\n4,\xff\n'.encode("latin-1"))
    assert read(path, "body") == [
        "two\nlines, quoted", Broken(4, "empty"), "ä", Broken(6, "not UTF-8"),
    ]  # fmt: skip
    packed = tmp_path / "b.txt.gz"
    packed.write_bytes(gzip.compress(b"one\ntwo\n"))
    assert read(packed) == ["one", "two"]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", None, "b"], "n": [1, 2, 3]}), path)
    assert read(path) == ["a", Broken(2, "no text (null)"), "b"]
    with pytest.raises(UserError, match="holds int64 and no text"):
        read(path, "n")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_missing_column_names_those_there_are(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        path.write_text("id,body\n1,x\n")
    else:
        pq.write_table(pa.table({"id": [1], "body": ["x"]}), path)
    with pytest.raises(UserError, match=r"no column 'text'; it has id, body"):
        read(path)


def test_unknown_suffix_and_unreadable_parquet(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.docx"):
        FileReader(tmp_path / "a.docx")
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match="cannot be read to its end"):
        read(tmp_path / "a.parquet")


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\n")
    before = FileReader(path).stamp
    assert FileReader(path).stamp == before
    path.write_text("ab\n")
    assert FileReader(path).stamp != before


def test_json_halves_of_surrogates_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"text": "\\ud83d"}\n{"text": "\\ud83d\\ude00"}\r\n{"text": null}'
    )
    assert read(path) == [Broken(1, "not UTF-8"), "\U0001f600", Broken(3, "no text (null)")]


def test_one_bad_value_in_parquet_is_one_broken_row(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(
        pa.string(), 3, pa.array([b"ab", b"\xff", b"cd"], pa.binary()).buffers()
    )
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": bad}), path)
    assert read(path) == ["ab", Broken(2, "not UTF-8 (byte 0)"), "cd"]
    pq.write_table(pa.table({"text": pa.array(["x", "y", "x"]).dictionary_encode()}), path)
    assert read(path) == ["x", "y", "x"]
    pq.write_table(pa.table({"text": pa.array(["x", None], pa.string_view())}), path)
    assert read(path) == ["x", Broken(2, "no text (null)")]
    pq.write_table(pa.table({"text": pa.nulls(2)}), path)
    assert read(path) == [Broken(1, "no text (null)"), Broken(2, "no text (null)")]


def test_csv_with_odd_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    long = "long " * 40_000  # above the csv module's own limit
    path.write_text(f"\ufeffid,body\n1\n\n2,{long}\n3,\ufffd kept\n", encoding="utf-8")
    assert read(path, "body") == [
        Broken(2, "no 'body'"), Broken(3, "empty"), long, "\ufffd kept",
    ]  # fmt: skip
    path.write_text("")
    assert read(path, "body") == []
    path.write_text("id,body\n1,x\n")
    with pytest.raises(UserError, match="Did you mean 'body'"):
        read(path, "bod")


def test_files_that_cannot_be_read_to_their_end(tmp_path: Path) -> None:
    packed = gzip.compress(b"one\ntwo\n" * 5000)
    for name, content in (
        ("cut.txt.gz", packed[:-12]),
        ("none.txt.gz", b"no gzip"),
        ("cut.parquet", b"PAR1 cut"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name} cannot be read to its end"):
            read(tmp_path / name)


def test_utf_16_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("नमस्ते\n", encoding="utf-16")
    with pytest.raises(UserError, match="is UTF-16: convert it to UTF-8"):
        read(tmp_path / "a.txt")


def test_suffixes_and_limits(tmp_path: Path) -> None:
    (tmp_path / "A.TXT").write_text("a\nb\n\nc\n")
    reader = FileReader(tmp_path / "A.TXT", limit=3)
    assert list(reader.rows()) == ["a", "b", Broken(3, "empty")]
    assert reader.stamp != FileReader(tmp_path / "A.TXT").stamp
    assert (reader.unit, FileReader(tmp_path / "a.parquet").unit) == ("line", "row")
    for name in ("a.parquet.gz", "a.gz", "txt"):
        with pytest.raises(UserError, match="texts are read from"):
            FileReader(tmp_path / name)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        path.write_text("text,id,text\nright,1,wrong\n")
    else:
        table = pa.Table.from_arrays([pa.array([x]) for x in "abc"], names=["text", "id", "text"])
        pq.write_table(table, path)
    with pytest.raises(UserError, match=r"has 2 columns named 'text' \(of text, id, text\)"):
        read(path)
    assert len(read(path, "id")) == 1  # others may have what names they will


def test_a_key_that_is_there_twice_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"text": "a", "text": "b"}\n{"text": "c", "in": {"text": "d"}}\n'
        '{"in": [{"text": 1, "text": 2}], "text": "the text"}\n'
    )
    assert read(path) == [Broken(1, "two 'text'"), "c", "the text"]


def test_a_quote_that_is_never_closed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [f"{n},text {n}" for n in range(200)]
    path.write_text("\n".join(["id,text", *lines[:50], '50,"open', *lines[51:]]) + "\n")
    with pytest.raises(UserError, match="opened in the row of line 52 is never closed"):
        read(path)
    path.write_text('id,text\n1,"a"b\n2,c "d" e\n3,"f ""g"" h"\n')
    first, *others = read(path)
    assert isinstance(first, Broken)
    assert first.reason.startswith("broken CSV")
    assert others == ['c "d" e', 'f "g" h']
    path.write_text('id,"text\n1,a\n')
    with pytest.raises(UserError, match="opened in the row of line 1 is never closed"):
        read(path)


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.jsonl"])
def test_lines_that_end_in_cr_alone_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b'text\r{"text": "b"}\rc\r')
    with pytest.raises(UserError, match=r"ends its lines with CR alone, .* and is one line"):
        read(tmp_path / name)
    (tmp_path / name).write_bytes(b'text\n{"text": "b\\rc"}\r\n"d\re"\r\n')
    assert len(read(tmp_path / name)) == 3 - (name == "a.csv")
