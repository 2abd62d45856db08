"""Tokenised corpora that are not as they were written: made anew, or one line; never trained on."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import sentences

from data_modules import MultilingualCorpus, Source
from data_modules.pairing.store import PairStore
from data_modules.prompting.store import prompt_lengths, teacher_answers
from data_modules.storing.corpus_cache import damage_of, made_once
from data_modules.storing.corpus_report import FileReport, check_broken, left_out, read_reports
from data_modules.storing.token_store import SCHEMA, StoreWriter, TokenStore
from lit_distill.errors import UserError

DEEP = "[" * 100_000
DAMAGED = r"^The tokenised corpus in .* is damaged \(.+\): delete it and start again; .*anew\.$"


@pytest.fixture
def make(tiny_bert: Path, tmp_path: Path) -> Callable[[], MultilingualCorpus]:
    (tmp_path / "en.txt").write_text("\n".join(sentences("en", 60)) + "\n")
    (tmp_path / "dev.txt").write_text("the cats sleep\n")

    def build() -> MultilingualCorpus:
        source = Source(language="en", files="en.txt", validation="dev.txt")
        folders = {"data_dir": str(tmp_path), "cache_dir": str(tmp_path / "cache")}
        corpus = MultilingualCorpus([source], tokenizer=str(tiny_bert), max_length=16, **folders)
        corpus.prepare_data()
        corpus.setup("fit")
        return corpus

    return build


def tokens(corpus: MultilingualCorpus) -> list[int]:
    return corpus.train.gather(np.arange(len(corpus.train.lengths))).tolist()


def zero(path: Path) -> None:
    """What a disk gives that lost power: the right size, nothing in it."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)


def test_a_zeroed_stretch_is_not_trained_on(make: Callable[[], MultilingualCorpus]) -> None:
    first = make()
    wanted, shard = tokens(first), first.train.folder / "shard-00000.arrow"
    before = shard.read_bytes()
    zero(shard)
    assert tokens(first) != wanted  # it is mapped, and nothing else would say a word
    line = r"is damaged \(train/shard-00000\.arrow is not as it was written\): it is made anew\.$"
    with pytest.warns(UserWarning, match=line):
        again = make()
    assert tokens(again) == wanted
    assert shard.read_bytes() == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make()  # once
    assert {path.suffix for path in shard.parent.parent.parent.iterdir()} == {"", ".lock"}


DAMAGE: dict[str, Callable[[Path], object]] = {
    "train/shard-00000.arrow is missing": lambda f: (f / "train/shard-00000.arrow").unlink(),
    "train/shard-00009.arrow is not": lambda f: shutil.copy(
        f / "train/shard-00000.arrow", f / "train/shard-00009.arrow"
    ),
    "report.json is not as": lambda f: (f / "report.json").write_text("[]"),
    "train/content.txt is not": lambda f: (f / "train/content.txt").write_bytes(b"\xff"),
    "train/languages.json is not": lambda f: (f / "train/languages.json").write_text(DEEP),
    "train/counts.npy is not": lambda f: zero(f / "train/counts.npy"),
    "test/tags.json is not": lambda f: (f / "test/tags.json").write_text("7"),
    "sums.json is no mapping": lambda f: (f / "sums.json").write_text("[]"),
    "there is no sums.json": lambda f: (f / "sums.json").unlink(),
    "Expecting value": lambda f: (f / "sums.json").write_text(""),
    "maximum recursion": lambda f: (f / "sums.json").write_text(DEEP),
    "can't decode byte": lambda f: (f / "sums.json").write_bytes(b"\xff"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_all_damage_is_found(tmp_path: Path, what: str) -> None:
    def write(folder: Path) -> None:
        for split in ("train", "test"):
            writer = StoreWriter(folder / split, ["aa"], 50)
            writer.add(np.arange(50, dtype=np.int32), np.array([20, 30]), 0)
            writer.close()
        (folder / "report.json").write_text("[{}]")

    folder = made_once(tmp_path / "store", write)
    assert damage_of(folder) is None
    (folder / ".DS_Store").write_text("the system's")
    assert damage_of(folder) is None
    DAMAGE[what](folder)
    assert what in str(damage_of(folder))
    with pytest.warns(UserWarning, match=r"is damaged \(.*\): it is made anew"):
        made_once(folder, write)
    assert damage_of(folder) is None


def test_a_damaged_corpus_stays_until_another_is_whole(tmp_path: Path) -> None:
    made_once(tmp_path / "store", lambda folder: folder.mkdir())
    (tmp_path / "store" / "more").write_text("")

    def full(folder: Path) -> None:
        folder.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    with (
        pytest.warns(UserWarning, match="more is not as it was written"),
        pytest.raises(UserError, match="No space left"),
    ):
        made_once(tmp_path / "store", full)
    assert {path.name for path in tmp_path.iterdir()} == {"store", "store.lock"}


def test_a_cache_that_may_not_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", denied)
    with pytest.raises(UserError, match=r"Permission denied.*in which you may write"):
        made_once(tmp_path / "store", lambda folder: folder.mkdir())


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EROFS, "Choose another data.init_args.cache_dir, in which you may write."),
        (errno.EACCES, "Choose another data.init_args.cache_dir, in which you may write."),
        (errno.ENOSPC, "Make room or choose another data.init_args.cache_dir."),
        (errno.EIO, "Choose another data.init_args.cache_dir."),
    ],
)
def test_only_a_full_disk_asks_for_room(tmp_path: Path, number: int, remedy: str) -> None:
    def refuse(folder: Path) -> None:
        raise OSError(number, os.strerror(number), str(folder))

    with pytest.raises(UserError) as error:
        made_once(tmp_path / "store", refuse)
    assert str(error.value).endswith(remedy)
    assert os.strerror(number) in str(error.value)


def test_temporary_files_are_beside_the_corpus(
    make: Callable[[], MultilingualCorpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp")

    for name in ("mkstemp", "mkdtemp", "TemporaryFile"):
        monkeypatch.setattr(f"tempfile.{name}", full)
    make()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    writer = StoreWriter(tmp_path / "store", ["aa", "bb"], 50)
    writer.add(np.arange(50, dtype=np.int32), np.array([20, 30]), 1)
    writer.close()
    return tmp_path / "store"


def arrow(path: Path, batch: pa.RecordBatch | None, schema: pa.Schema) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        if batch is not None:
            writer.write_batch(batch)


def shard(path: Path, ids: list[list[int]], language: list[int]) -> None:
    arrow(path, pa.record_batch([pa.array(ids, SCHEMA[0].type), pa.array(language, SCHEMA[1].type)],
                                schema=SCHEMA), SCHEMA)  # fmt: skip


def other_columns(path: Path) -> None:
    batch = pa.record_batch({"ids": [1, 2]})
    arrow(path, batch, batch.schema)


BROKEN: dict[str, dict[str, Callable[[Path], object]]] = {
    "languages.json": {
        "number": lambda p: p.write_text("7"),
        "null": lambda p: p.write_text("null"),
        "numbers": lambda p: p.write_text("[1, 2]"),
        "text": lambda p: p.write_text('"ab"'),
        "fewer": lambda p: p.write_text('["aa"]'),
        "cut": lambda p: p.write_text('["aa", "b'),
        "deep": lambda p: p.write_text(DEEP),
        "not UTF-8": lambda p: p.write_bytes(b'["\xff", "bb"]'),
        "gone": Path.unlink,
    },
    "tags.json": {
        "mapping": lambda p: p.write_text("{}"),
        "lists": lambda p: p.write_text("[[]]"),
        "deep": lambda p: p.write_text(DEEP),
    },
    "content.txt": {
        "empty": lambda p: p.write_text(""),
        "text": lambda p: p.write_text("x" * 32),
        "not UTF-8": lambda p: p.write_bytes(b"\xff" * 32),
    },
    "counts.npy": {
        "objects": lambda p: np.save(p, np.array([None, {}]), allow_pickle=True),
        "floats": lambda p: np.save(p, np.zeros((2, 50))),
        "flat": lambda p: np.save(p, np.zeros(100, np.int64)),
        "other languages": lambda p: np.save(p, np.zeros((3, 50), np.int64)),
        "other numbers": lambda p: np.save(p, np.zeros((2, 50), np.int64)),
        "no header": lambda p: p.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': ("),
        "open header": lambda p: p.write_bytes(b"\x93NUMPY\x01\x00\x0a\x00{'descr':(L"),
        "empty": lambda p: p.write_bytes(b""),
    },
    "shard-00000.arrow": {
        "gone": Path.unlink,
        "empty": lambda p: p.write_bytes(b""),
        "cut": lambda p: p.write_bytes(p.read_bytes()[:-40]),
        "no batch": lambda p: arrow(p, None, SCHEMA),
        "other columns": other_columns,
        "another language": lambda p: shard(p, [list(range(20)), list(range(30))], [1, 2]),
        "fewer": lambda p: shard(p, [list(range(20))], [1]),
        "an empty window": lambda p: shard(p, [list(range(50)), []], [1, 1]),
        "a folder": lambda p: (p.unlink(), p.mkdir()),
    },
}


@pytest.mark.parametrize(("name", "how"), [(n, how) for n in BROKEN for how in BROKEN[n]])
def test_a_store_that_cannot_be_right_is_one_line(store: Path, name: str, how: str) -> None:
    TokenStore(store)
    BROKEN[name][how](store / name)
    with pytest.raises(UserError, match=DAMAGED):
        TokenStore(store)


REPORT = {"name": "a.txt", "language": "en", "rows": 3, "broken": 1, "reasons": {"empty": 1}}


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "{}", "7", "null", "[1]", "[null]", '[{"rows": 3}]', "[", "", DEEP),
        *(
            json.dumps([{**REPORT, **change}])
            for change in (
                *({"rows": "3"}, {"rows": 1.5}, {"rows": None}, {"rows": True}, {"broken": -1}),
                *({"name": 3}, {"reasons": []}, {"reasons": {"a": "b"}}, {"other": 1}),
            )
        ),
    ],
)
def test_a_report_that_says_nothing_is_not_taken_for_no_broken_rows(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "report.json").write_text(json.dumps([REPORT]))
    assert read_reports(tmp_path) == [FileReport(**REPORT)]
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(UserError, match=DAMAGED):
        read_reports(tmp_path)


def test_prompts_and_pairs_that_do_not_fit_their_texts(store: Path) -> None:
    opened = TokenStore(store)
    np.save(store / "prompts.npy", np.array([20, 3]))
    assert prompt_lengths(opened).tolist() == [20, 3]
    for lengths in ([21, 3], [20], [[20, 3]], [1.0, 2.0], [-1, 3]):
        np.save(store / "prompts.npy", np.array(lengths))
        with pytest.raises(UserError, match=DAMAGED):
            prompt_lengths(opened)
    (store / "teacher.json").write_text('["x", null]')
    assert teacher_answers(opened) == ["x", None]
    for text in ('["x"]', "[1, 2]", "{}", "null", DEEP):
        (store / "teacher.json").write_text(text)
        with pytest.raises(UserError, match=DAMAGED):
            teacher_answers(opened)
    folder = store.parent / "split"
    shutil.copytree(store, folder / "tgt")
    for table, sound in (([[0], [1], [0]], True), ([[0], [2], [0]], False), ([[0], [1]], False)):
        np.save(folder / "pairs.npy", np.array(table, np.int32))
        if sound:
            assert PairStore(folder).lengths.tolist() == [30]
            continue
        with pytest.raises(UserError, match=DAMAGED):
            PairStore(folder)


def test_rows_without_the_column_do_not_ask_for_more_broken_ones(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "x"}\n' * 3)
    report = FileReport(str(tmp_path / "a.jsonl"), "en", rows=3)
    for number in range(3):
        report.note(f"first at line {number + 1}", "no 'text'")
    with pytest.raises(UserError, match=r"Its first row has body\. Name one of these") as error:
        check_broken([report], 0.01)
    assert "max_broken" not in str(error.value)
    for name in ("gone.jsonl", "a.csv"):
        with pytest.raises(
            UserError, match=r"Repair the file, or raise data\.init_args\.max_broken"
        ):
            check_broken([dataclasses.replace(report, name=str(tmp_path / name))], 0.01)


def test_where_the_rows_went_is_said() -> None:
    full = FileReport("a", "en", 10, broken=2, repeated=3, too_long=5, reasons={"empty": 2})
    other = FileReport("b", "en", 5, held_out=5)
    assert left_out([full, other, FileReport("c", "de", 7)], "en") == (
        " Of its 15 rows: 2 broken, 3 repeats, 5 held out, 5 too long. Raise data.init_args."
        "max_length (of prompts also max_prompt_length) for longer ones."
    )
    short = FileReport("a", "en", 10, broken=2, reasons={"empty": 2})
    assert left_out([short], "en") == " Of its 10 rows: 2 broken."
    assert left_out([full], "de") == ""
