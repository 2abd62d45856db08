"""Columns, templates and languages of prompt files, in every format."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import prompted
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_modules import PromptSource
from data_modules.prompting.form import PromptText
from data_modules.prompting.sources import resolve_prompts
from data_modules.reading.readers import Broken
from lit_distill.errors import UserError

ROWS = [
    {"q": "one?", "c": "", "a": "1", "lang": "en"},
    {"q": "zwei?", "c": "mit", "a": "2", "lang": "de"},
    {"q": "three?", "c": "with", "a": "", "lang": "en"},
]


def read(folder: Path, **given: Any) -> dict[str, list[Any]]:
    source = PromptSource(**{"prompt": "{q} {c?}", "response": "{a}", **given})
    return {
        texts.language: [row for reader in texts.train for row in reader.rows()]
        for texts in resolve_prompts([source], folder)
    }


@pytest.fixture(params=["jsonl", "csv", "parquet", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    kind = request.param
    if kind in ("jsonl", "folder"):
        prompted.write(tmp_path / "r.jsonl", ROWS)
    elif kind == "csv":
        with (tmp_path / "r.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, ["q", "c", "a", "lang"])
            table.writeheader()
            table.writerows(ROWS)
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "r.parquet")
    return {"dataset": "."} if kind == "folder" else {"files": f"r.{kind}"}


def test_columns_in_every_format(place: dict[str, str], tmp_path: Path) -> None:
    found = read(tmp_path, language="xx", **place)["xx"]
    assert [getattr(row, "prompt", None) for row in found] == ["one? ", "zwei? mit", None]
    assert [getattr(row, "response", None) for row in found] == ["1", "2", None]
    assert isinstance(found[2], Broken)
    assert found[2].reason == "empty response"
    partly = read(tmp_path, language="xx", partly_labelled=True, **place)["xx"]
    assert (partly[2].prompt, partly[2].response) == ("three? with", None)
    assert partly[1] == "zwei? mit2"  # as one text, for what reads texts


def test_a_column_of_languages(place: dict[str, str], tmp_path: Path) -> None:
    options: dict[str, Any] = {"language_column": "lang", "partly_labelled": True, **place}
    if "dataset" in place:
        with pytest.raises(UserError, match="list the `languages`"):
            read(tmp_path, **options)
        options["languages"] = ["de", "en"]
    found = read(tmp_path, **options)
    assert {tag: [row.prompt for row in own] for tag, own in found.items()} == {
        "de": ["zwei? mit"], "en": ["one? ", "three? with"],
    }  # fmt: skip


def test_languages_of_file_names_and_prompts_alone(tmp_path: Path) -> None:
    (tmp_path / "p.hi.txt").write_text("एक\n\nदो\n", "utf-8")
    found = read(tmp_path, files="p.{language}.txt", prompt="{language}: {text}", response=None)
    first, empty, third = found["hi"]
    assert isinstance(first, PromptText)
    assert (first.prompt, first.response, third.prompt) == ("hi: एक", None, "hi: दो")
    assert isinstance(empty, Broken)
    assert empty.number == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"files": "p.txt"}, r"p\.txt has one text a line, and the source reads q, c, a"),
        ({"files": "r.jsonl", "prompt": "hello"}, "prompt template 'hello' names no column"),
        ({"files": "r.jsonl", "response": "yes"}, "response template 'yes' names no column"),
        ({"files": "r.jsonl", "language_column": "lang"}, "give one of them"),
        ({"files": "r.{language}", "language": None, "language_column": "l"}, "give one of them"),
        ({}, "either files or a dataset"),
    ],
)
def test_contradictions_are_refused(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a\n")
    prompted.write(tmp_path / "r.jsonl", ROWS)
    with pytest.raises(UserError, match=message):
        read(tmp_path, **{"language": "xx", **given})


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "r.parquet")
    with pytest.raises(UserError, match=r"no column 'answer'; it has q, c, a, lang"):
        read(tmp_path, language="xx", files="r.parquet", response="{answer}")
