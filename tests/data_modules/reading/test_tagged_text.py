"""Words with language tags: found in their texts, read from files, refused where they differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_modules.phrasebook import PhrasebookReader
from data_modules.reading.readers import Broken
from data_modules.reading.sources import Source, resolve
from data_modules.reading.tagged_text import TaggedReader, TaggedText, located
from data_modules.storing.corpus_report import check_splits
from data_modules.storing.token_tags import LANGUAGE, TagNumbers
from lit_distill.errors import UserError


def test_words_are_found_in_order() -> None:
    text = located(
        "a phone, a book", ["a", "phone", ",", "a", "book"], ["hi", "en", "other", "hi", "NE"]
    )
    assert text == "a phone, a book"
    assert text.words == ((0, 1, "hi"), (2, 7, "en"), (7, 8, None), (9, 10, "hi"), (11, 15, None))
    assert text.tags == ["hi", "en", None, "hi", None]


@pytest.mark.parametrize(
    ("tokens", "tags", "message"),
    [(["a"], ["hi", "en"], "1 words and 2 tags"), (["b", "a"], ["hi", "en"], "'a'")],
)
def test_what_does_not_fit_is_refused(tokens: list[str], tags: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        located("a b", tokens, tags)


def test_a_file_with_tags(tmp_path: Path) -> None:
    rows: list[object] = [
        {"text": "chai, please", "tokens": ["chai", "please"], "lang": ["hi", "en"]},
        {"tokens": ["ek", "cup"], "lang": ["hi", "en"]},
        {"text": "chai", "tokens": ["chai"], "lang": ["hi", "en"]},
        {"text": "chai", "lang": ["hi"]},
        {"text": "", "tokens": [], "lang": []},
        [],
    ]
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n{\n")
    first, second, *broken = TaggedReader(path, tags="lang").rows()
    assert isinstance(first, TaggedText)
    assert isinstance(second, TaggedText)
    assert first.words == ((0, 4, "hi"), (6, 12, "en"))
    assert (second, second.tags) == ("ek cup", ["hi", "en"])
    assert [type(row) for row in broken] == [Broken] * 5
    assert [row.number for row in broken if isinstance(row, Broken)] == [3, 4, 5, 6, 7]


def test_a_source_with_tags(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("{}\n")
    (tmp_path / "m.txt").write_text("a\n")
    (texts,) = resolve([Source("hi-en", files="m.jsonl", tags="lang", tokens="words")], tmp_path)
    (reader,) = texts.train
    assert isinstance(reader, TaggedReader)
    assert (reader.tags, reader.tokens) == ("lang", "words")
    assert reader.stamp != TaggedReader(reader.path).stamp
    with pytest.raises(UserError, match=r"\.jsonl only"):
        resolve([Source("hi-en", files="m.txt", tags="lang")], tmp_path)
    with pytest.raises(UserError, match=r"\.jsonl files only"):
        resolve([Source("hi-en", dataset="lince", tags="lang")], tmp_path)


def test_the_phrasebook_knows_the_languages_of_its_mixes() -> None:
    texts = list(PhrasebookReader("hi-en", "train", 50, 0).rows())
    assert all(isinstance(text, TaggedText) for text in texts)
    tags = {tag for text in texts if isinstance(text, TaggedText) for tag in text.tags}
    assert tags == {"hi-Latn", "en", None}
    assert not any(isinstance(t, TaggedText) for t in PhrasebookReader("hi", "train", 9, 0).rows())


def test_more_languages_than_a_byte_has_room_for() -> None:
    numbers = TagNumbers()
    assert [numbers._number(f"x{i}") for i in range(LANGUAGE)] == list(range(1, 64))
    with pytest.raises(UserError, match="More than 63 different language tags of words"):
        numbers._number("one more")

    class Store:  # as an earlier release wrote it
        tag_names, folder = ["x"] * 64, Path("cache/train")

    with pytest.raises(UserError, match="more than 63 language tags of words: delete cache"):
        check_splits({"train": Store(), "validation": Store()}, [], 50)
