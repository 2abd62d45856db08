"""From `sources` to readers per language."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_modules.readers import HubReader
from data_modules.sources import Source, resolve
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
        (Source(language="hi", files="raw/hi/a.txt", test_split="test"), "has files and the hub split"),
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
