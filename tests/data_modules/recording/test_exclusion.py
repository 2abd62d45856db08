"""Texts of other files are in no store, of any kind of corpus, and what is there is noted."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prompted
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import sentences

from data_modules import (
    CodeMixedCorpus,
    Corpus,
    LabelledCorpus,
    LabelledSource,
    Mix,
    MultilingualCorpus,
    NoTargets,
    ParallelCorpus,
    ParallelSource,
    PromptCorpus,
    PromptSource,
    Source,
)
from data_modules.reading.all_texts import texts_in
from data_modules.recording.text_record import TextRecord
from data_modules.storing.tokenising import texts_of_split
from lit_distill.errors import UserError
from lit_distill.files.seen_texts import SeenTexts, hashes_of

EN, DE = sentences("en", 60), sentences("de", 60)
PAIRS = [(f"{one}", f"{other}") for one, other in zip(EN, DE, strict=True)]
ONE_LABEL = ["good", "bad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 rows of every kind, and `dev.jsonl` with 12 of their texts, written otherwise."""
    place = tmp_path_factory.mktemp("excluded")
    (place / "raw.en.txt").write_text("\n".join(EN) + "\n")
    (place / "raw.de.txt").write_text("\n".join(DE) + "\n")
    rows = {
        "pairs": [{"a": a, "b": b, "label": ONE_LABEL[n % 2]} for n, (a, b) in enumerate(PAIRS)],
        "qa": [{"q": a, "r": b} for a, b in PAIRS],
        "dev": [{"id": n, "tokens": EN[n].upper().split(), "tags": ["O"]} for n in range(0, 24, 2)],
        "test": [{"a": EN[n], "b": DE[n], "label": "bad"} for n in range(5)],
    }
    for name, own in rows.items():
        text = "".join(json.dumps(row) + "\n" for row in own)
        (place / f"{name}.jsonl").write_text(text)
    prompted.tokenizer(place / "tokenizer")
    return place


Make = Callable[..., Corpus]


@pytest.fixture(params=["raw", "labelled", "parallel", "prompts"])
def make(request: pytest.FixtureRequest, folder: Path, tiny_bert: Path, tmp_path: Path) -> Make:
    def build(**options: Any) -> Corpus:
        settings: dict[str, Any] = {
            "data_dir": str(folder), "cache_dir": str(tmp_path / "cache"), "max_length": 64,
            "batch_tokens": 256, "holdout": 4, "tokenizer": str(tiny_bert), **options,
        }  # fmt: skip
        if request.param == "raw":
            sources = [Source(files="raw.{language}.txt")]
            return MultilingualCorpus(sources, objective=NoTargets(), **settings)
        if request.param == "labelled":
            return LabelledCorpus([LabelledSource("en", None, "pairs.jsonl", text="a", second="b")],
                                  **settings)  # fmt: skip
        if request.param == "parallel":
            return ParallelCorpus([ParallelSource("raw.{language}.txt")], objective=NoTargets(),
                                  src_languages=["en"], **settings)  # fmt: skip
        source = PromptSource("en", None, "qa.jsonl", prompt="{q}\n", response="{r}")
        long = dict.fromkeys(("max_length", "batch_tokens"), 400)  # tokens are letters
        tokenizer = str(folder / "tokenizer")
        return PromptCorpus([source], **{**settings, **long, "tokenizer": tokenizer})

    return build


def ready(corpus: Corpus) -> Corpus:
    corpus.prepare_data()
    corpus.setup("fit")
    return corpus


def noted(corpus: Corpus) -> set[int]:
    return {*corpus.text_hashes("train").tolist(), *corpus.text_hashes("validation").tolist()}


def test_an_excluded_text_is_in_no_store(make: Make) -> None:
    """Lists of words, in capitals, are the lines of a raw file."""
    whole, less = ready(make()), ready(make(exclude=["dev.jsonl"]))
    assert sum(report.excluded for report in less.report) == 12
    assert sum(report.excluded for report in whole.report) == 0
    dev = {*hashes_of(EN[n] for n in range(0, 24, 2)).tolist()}
    assert dev < noted(whole)
    assert not dev & noted(less)

    def windows(corpus: Corpus) -> int:
        return sum(len(corpus._stores[split].lengths) for split in ("train", "validation"))

    parts = 2 if isinstance(less, ParallelCorpus) else 1
    assert windows(whole) - windows(less) == 12 * parts
    kept = {one for text in EN if (one := hashes_of([text]).item()) not in dev}
    assert kept < noted(less)


def test_what_is_noted_is_what_is_there(make: Make) -> None:
    corpus = ready(make())
    assert noted(corpus) == {*hashes_of([*EN, *DE]).tolist()}
    assert corpus.seen_texts.hashes.tolist() == sorted(noted(corpus))
    train, validation = (corpus.text_hashes(split) for split in ("train", "validation"))
    assert not np.intersect1d(train, validation).size
    assert len(validation)


def test_another_list_of_files_is_another_store(make: Make, tmp_path: Path) -> None:
    """And so is another content of them."""
    path = tmp_path / "out.txt"
    path.write_text(f"{EN[0]}\n")
    counts = []
    for text in (EN[0], f"{EN[0]}\n{EN[1]}"):
        path.write_text(f"{text}\n")
        counts.append(sum(report.excluded for report in ready(make(exclude=[str(path)])).report))
    assert counts == [1, 2]


def test_a_file_that_is_not_there_is_told(make: Make) -> None:
    with pytest.raises(UserError, match=r"No file .*devs.jsonl. Did you mean .*dev.jsonl"):
        ready(make(exclude=["devs.jsonl"]))


def test_a_test_split_is_not_thinned_out(folder: Path, tiny_bert: Path, tmp_path: Path) -> None:
    """It is what the excluded files are measured by, often the same file; known before `setup`."""
    source = LabelledSource(
        "en", None, "pairs.jsonl", test="test.jsonl", text="a", second="b"
    )  # fmt: skip
    corpus = LabelledCorpus(
        [source], str(folder), tokenizer=str(tiny_bert), cache_dir=str(tmp_path), holdout=4,
        max_length=64, exclude=["test.jsonl"],
    )  # fmt: skip
    before = corpus.text_hashes("test")
    ready(corpus)
    assert len(corpus._stores["test"].lengths) == 5
    wanted = {*hashes_of([*EN[:5], *DE[:5]]).tolist()}
    assert {*before.tolist()} == {*corpus.text_hashes("test").tolist()} == wanted
    assert not wanted & noted(corpus)


def test_a_tokenizer_does_not_learn_from_excluded_texts(folder: Path) -> None:
    corpus = MultilingualCorpus(
        [Source("en", files="raw.en.txt")], str(folder), exclude=["dev.jsonl"], holdout=10**6
    )
    found = [*texts_of_split("train", corpus.texts()[0], corpus.settings, 0.0)]
    assert found == [text for n, text in enumerate(EN) if n % 2 or n >= 24]


def test_made_text_is_made_of_no_excluded_sentence(folder: Path) -> None:
    mix = Mix("de-en", "de", ["en"], parallel=[ParallelSource("raw.{language}.txt")], cmi=[20.0],
              romanise=False)  # fmt: skip

    def matrices(exclude: list[str]) -> set[str]:
        corpus = CodeMixedCorpus([mix], data_dir=str(folder), exclude=exclude, holdout=4)
        (mixer,) = corpus._mixers
        frames = [*mixer.frames(False), *mixer.frames(True)]
        return {"".join(frame.words) for frame in frames}

    every, fewer = matrices([]), matrices(["dev.jsonl"])
    assert len(every) == 60
    assert every - fewer == {DE[n].replace(" ", "") for n in range(0, 24, 2)}


def test_all_texts_of_all_kinds_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\ufeffone two\r\n\nthree\n", "utf-8")
    row = {"id": 3, "text": "one two", "tokens": ["thr", "ee"], "tags": [1, 2], "more": None}
    (tmp_path / "b.jsonl").write_text(json.dumps(row) + "\n\n" + json.dumps("four") + "\n")
    with gzip.open(tmp_path / "c.csv.gz", "wt") as file:
        file.write('one two,7\n"thr\nee",8\n')
    table = {"text": ["one two", None], "tokens": [["thr", "ee"], []], "n": [1, 2]}
    pq.write_table(pa.table(table), tmp_path / "d.parquet")
    conll = "-DOCSTART- O\n\n# text = one two\n1-2\tonetwo\tX\n1\tone\tX\n2\ttwo\tY\n\nthr O\nee O"
    (tmp_path / "e.conllu").write_text(conll)
    wanted = {"e.conllu": 6, "a.txt": 2, "b.jsonl": 3, "c.csv.gz": 4, "d.parquet": 2}
    both = {*hashes_of(["one two", "three"]).tolist()}
    for name, count in wanted.items():
        found = [*texts_in(tmp_path / name)]
        assert len(found) == count, name
        assert both <= {*hashes_of(found).tolist()}, name


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'{"text": "one"}\n{"text": \n'), ("a.txt", b"one\n\xff\xfe\n"),
        ("a.csv", b'one\n"two\n'), ("a.parquet", b"PAR1"), ("a.txt.gz", b"one\n"),
        ("a.docx", b"one\n"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_whole_stops_the_run(
    name: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} cannot be read to its end .*exclude"):
        list(texts_in(tmp_path / name))


def test_of_many_texts_a_share_is_noted_whatever_comes_first(tmp_path: Path) -> None:
    texts = [(n, f"text {n}") for n in range(1_000)]
    for name, order in (("a", texts), ("b", texts[::-1])):
        record = TextRecord(["train"], limit=100)
        for start in range(0, 1_000, 30):
            record.note({"train": order[start : start + 30]})
        (tmp_path / name / "train").mkdir(parents=True)
        record.write(tmp_path / name)
    first, second = (SeenTexts.of(tmp_path / name / "train") for name in "ab")
    assert first is not None
    assert second is not None
    assert first.one_in == second.one_in == 16
    assert first.hashes.tolist() == second.hashes.tolist()
    wanted = [value for value in hashes_of(t for _, t in texts).tolist() if value % 16 == 0]
    assert first.hashes.tolist() == sorted(wanted)


def test_given_validation_texts_are_left_out_too(
    folder: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    """Whoever is selected by a text has seen it."""
    (tmp_path / "val.txt").write_text("\n".join(EN[:6]) + "\n")
    (tmp_path / "more.txt").write_text("\n".join(sentences("en", 20, seed=1)) + "\n")
    source = Source("en", files=str(tmp_path / "more.txt"), validation=str(tmp_path / "val.txt"))
    corpus = MultilingualCorpus(
        [source], str(folder), tokenizer=str(tiny_bert), cache_dir=str(tmp_path / "cache"),
        objective=NoTargets(), max_length=64, exclude=["dev.jsonl"],
    )  # fmt: skip
    ready(corpus)
    assert {*corpus.text_hashes("validation").tolist()} == {*hashes_of(EN[1:6:2]).tolist()}
    assert [report.excluded for report in corpus.report] == [3, 0]


def test_the_second_text_of_a_pair_is_enough(folder: Path, tiny_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "de.txt").write_text("\n".join(DE[10:20]) + "\n")
    corpus = LabelledCorpus(
        [LabelledSource("en", None, "pairs.jsonl", text="a", second="b")], str(folder),
        tokenizer=str(tiny_bert), cache_dir=str(tmp_path / "cache"), max_length=64, holdout=4,
        exclude=[str(tmp_path / "{language}.txt")],
    )  # fmt: skip
    ready(corpus)
    assert sum(report.excluded for report in corpus.report) == 10
    assert not noted(corpus) & {*hashes_of([*EN[10:20], *DE[10:20]]).tolist()}
