"""Every format, and everything that can be wrong in a file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_modules.readers import Broken, FileReader, HubReader
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
    assert reasons[1:] == ["not a JSON object", "no 'text'", "'text' is no text but int", "empty"]
    assert [row.row for row in broken if isinstance(row, Broken)] == [2, 3, 4, 5, 6]


def test_csv_and_gz(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('id,body\n1,"two\nlines, quoted"\n2,\n3,\xc3\xa4\n4,\xff\n'.encode("latin-1"))
    assert read(path, "body") == [
        "two\nlines, quoted", Broken(3, "empty"), "ä", Broken(5, "not UTF-8"),
    ]  # fmt: skip
    packed = tmp_path / "b.txt.gz"
    packed.write_bytes(gzip.compress(b"one\ntwo\n"))
    assert read(packed) == ["one", "two"]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", None, "b"], "n": [1, 2, 3]}), path)
    assert read(path) == ["a", Broken(2, "no 'text'"), "b"]
    assert isinstance(read(path, "n")[0], Broken)


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
    with pytest.raises(UserError, match="no readable parquet"):
        read(tmp_path / "a.parquet")


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\n")
    before = FileReader(path).stamp
    assert FileReader(path).stamp == before
    path.write_text("ab\n")
    assert FileReader(path).stamp != before


@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder_in_hub_format(
    tmp_path: Path, streaming: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "corpus"
    for config, texts in {"hi": ["एक", "दो", "तीन"], "bn": ["এক"]}.items():
        (folder / config).mkdir(parents=True)
        pq.write_table(pa.table({"text": texts}), folder / config / "train-00000.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: hi\n  data_files: hi/*.parquet\n"
        "- config_name: bn\n  data_files: bn/*.parquet\n---\n"
    )
    reader = HubReader(str(folder), "hi", "train", None, "text", streaming)
    assert list(reader.rows()) == ["एक", "दो", "तीन"]
    limited = HubReader(str(folder), "hi", "train", None, "text", streaming, limit=2)
    assert list(limited.rows()) == ["एक", "दो"]
    with pytest.raises(UserError, match="has no column 'body'; it has text"):
        list(HubReader(str(folder), "hi", "train", None, "body", streaming).rows())
    with pytest.raises(UserError, match="could not be opened"):
        list(HubReader(str(folder), "ta", "train", None, "text", streaming).rows())


def test_a_name_that_cannot_be_reached_fails_with_the_remedy() -> None:
    with pytest.raises(UserError, match="give local files"):
        list(HubReader("nobody/nothing", None, "train", None, "text").rows())
