"""From `sources` to readers per language."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_modules.reading.hub_reader import HubReader
from data_modules.reading.sources import Source, resolve
from lit_distill.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "raw/hi/a.txt",
        "raw/hi/b.txt",
        "raw/bn-en/a.txt",
        "news/news.hi.txt",
        "dev/hi.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x\n")
    return tmp_path


def test_one_pattern_stands_for_many_languages(folder: Path) -> None:
    sources = [Source(files="raw/{language}/*.txt"), Source(files="news/news.{language}.txt")]
    found = resolve(sources, folder)
    assert [texts.language for texts in found] == ["bn-en", "hi"]
    names = [Path(reader.name).relative_to(folder).as_posix() for reader in found[1].train]
    assert names == ["raw/hi/a.txt", "raw/hi/b.txt", "news/news.hi.txt"]


def test_a_language_needs_one_of_the_patterns(folder: Path) -> None:
    source = Source(files=["raw/{language}/*.txt", "news/news.{language}.txt"])
    bn_en, hi = resolve([source], folder)
    assert [len(bn_en.train), len(hi.train)] == [1, 3]
    with pytest.raises(UserError, match=r"No file matches .*new/news.*Did you mean .*news\?"):
        resolve([Source(files=["raw/{language}/*.txt", "new/news.{language}.txt"])], folder)
    with pytest.raises(UserError, match=r"No file .*raw/hi/c\.txt"):
        resolve([Source(language="hi", files=["raw/hi/a.txt", "raw/hi/c.txt"])], folder)


def test_wildcards_around_languages(tmp_path: Path) -> None:
    root = tmp_path / "a[b]*c"  # brackets and stars of the folder's own name are no wildcards
    for name in ("hi/x/hi.txt", "bn/x/y/bn.txt", "bn/x/hi.txt", "de/part1.txt", "de/part12.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x\n")
    both = resolve([Source(files="{language}/**/{language}.txt")], root)
    assert [(t.language, len(t.train)) for t in both] == [("bn", 1), ("hi", 1)]
    (de,) = resolve([Source(files="{language}/part[!02-9].txt")], root)
    assert [Path(reader.name).name for reader in de.train] == ["part1.txt"]
    (de,) = resolve([Source(files="{language}/part??.txt")], root)
    assert [Path(reader.name).name for reader in de.train] == ["part12.txt"]
    (de,) = resolve([Source(language="de", files=["de/*.txt", "de/part1.txt"])], root)
    assert len(de.train) == 2  # a file that two patterns find is read once


def test_a_local_folder_as_dataset(folder: Path) -> None:
    (found,) = resolve([Source(language="hi", dataset="raw", validation_split="dev")], folder)
    assert found.train == [HubReader(str(folder / "raw"))]
    assert found.validation == [HubReader(str(folder / "raw"), split="dev")]


def test_listed_languages_must_all_be_there(folder: Path) -> None:
    source = Source(files="raw/{language}/*.txt", languages=["hi", "ta"])
    with pytest.raises(UserError, match=r"No file .*raw/ta/\*\.txt"):
        resolve([source], folder)
    (found,) = resolve([Source(files="raw/{language}/*.txt", languages=["hi"])], folder)
    assert found.language == "hi"


def test_given_validation_and_test_texts(folder: Path) -> None:
    source = Source(
        language="hi", files="raw/hi/a.txt", validation="dev/hi.txt", test=["raw/hi/b.txt"]
    )
    (found,) = resolve([source], folder)
    assert [len(found.train), len(found.validation), len(found.test)] == [1, 1, 1]


def test_hub_sources(folder: Path) -> None:
    source = Source(
        languages=["hi", "bn"], dataset="org/wiki", config="2023.{language}", revision="abc",
        validation_split="dev", weight=2.0,
    )  # fmt: skip
    bn, hi = resolve([source], folder)
    assert isinstance(hi.train[0], HubReader)
    assert hi.train[0].config == "2023.hi"
    assert hi.validation[0] == HubReader("org/wiki", "2023.hi", "dev", "abc", "text")
    assert bn.weight == 2.0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Source(language="hi"), "either files or a dataset"),
        (Source(language="hi", files="a.txt", dataset="x"), "either files or a dataset"),
        (Source(files="raw/hi/a.txt"), "does not say its language"),
        (Source(language="hi", files="raw/{language}/a.txt"), "both language: hi and the pattern"),
        (Source(language="hi", files="raw/hi/c.txt"), r"Did you mean .*raw/hi/[ab]\.txt\?"),
        (Source(language="hi", files="rw/hi/a.txt"), "Did you mean .*raw"),
        (Source(files="nothing/{language}.txt"), "No file matches"),
        (Source(dataset="x", config="{language}"), "needs `languages`"),
        (Source(language="hi", files="raw/hi/a.txt", test_split="t"), "files and the hub split"),
        (Source(language="hi", files=[]), "empty list of files"),
        (Source(languages=["hi"], files="raw/hi/a.txt"), "need {language} in their names"),
        (Source(language="hi", dataset="x", test="a", test_split="b"), "both test files and"),
        (Source(language="hi", dataset="raw", revision="main"), "has no revision"),
        (Source(language="hi", dataset="./rw"), "no folder .*Did you mean .*raw"),
        (Source(language="hi", dataset="a/b/c"), "a hub name has the form"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said(folder: Path, source: Source, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve([source], folder)


def test_one_weight_per_language(folder: Path) -> None:
    sources = [
        Source(language="hi", files="raw/hi/a.txt"),
        Source(language="hi", files="raw/hi/b.txt", weight=2.0),
    ]
    with pytest.raises(UserError, match="one weight"):
        resolve(sources, folder)
    with pytest.raises(UserError, match="no sources"):
        resolve([], folder)
