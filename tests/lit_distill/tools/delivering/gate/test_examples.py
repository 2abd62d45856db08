"""What is read of held texts, padded on either side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lit_distill.errors import UserError
from lit_distill.tools.delivering.deliverables.choices import OnnxSpec
from lit_distill.tools.delivering.deliverables.deliverable import open_deliverable
from lit_distill.tools.delivering.gate.examples import (
    batches,
    edges,
    held_texts,
    padded,
    read,
)


def test_by_default_the_phrasebook_is_read_in_ten_languages() -> None:
    texts = held_texts({}, 3)
    assert len(texts) == 10
    assert all(len(some) == 3 and all(some) for some in texts.values())


def test_files_are_read_by_language(text_folder: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "one"}\n{"text": "one"}\n{"text": "two"}\n')
    texts = held_texts({"de": str(text_folder / "de.txt"), "en": str(rows)}, 5)
    assert texts["de"] == (text_folder / "de.txt").read_text().splitlines()[:5]
    assert texts["en"] == ["one", "two"]
    (tmp_path / "empty.txt").write_text("\n\n")
    for path, message in (
        (tmp_path / "empty.txt", "has no row with text"),
        (tmp_path / "none.txt", "there is no file"),
        (tmp_path, "there is no file"),
    ):
        with pytest.raises(UserError, match=message):
            held_texts({"de": str(path)}, 5)


def test_padding_goes_to_the_side_that_is_asked_for() -> None:
    texts = [
        {"input_ids": np.array(ids), "attention_mask": np.ones(len(ids), np.int64)}
        for ids in ([5, 6, 7], [8])
    ]
    right, left = padded(texts, 3), padded(texts, 3, left=True)
    assert right["input_ids"].tolist() == [[5, 6, 7], [8, 3, 3]]
    assert right["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert left["input_ids"].tolist() == [[5, 6, 7], [3, 3, 8]]
    assert left["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    choices = [padded(texts, 3), padded(texts[1:] * 2, 3)]
    assert padded(choices, 3)["input_ids"].tolist() == [
        [[5, 6, 7], [8, 3, 3]],
        [[8, 3, 3], [8, 3, 3]],
    ]
    assert [len(some) for some in batches(texts * 2, 3)] == [3, 1]


def test_extreme_lengths_are_one_token_and_all_that_the_model_reads(tiny_bert: Path) -> None:
    what = open_deliverable(tiny_bert, OnnxSpec(), "it")
    lengths = [len(one["input_ids"]) for one in edges(what, ["the cat", "a river runs"])]
    assert lengths == [1, 2, 32]
    assert what.model.config.max_position_embeddings == 32
    (one,) = read(what, ["the cat"])
    assert one["input_ids"].tolist() == what.tokenizer("the cat")["input_ids"]
    assert set(one) == {"input_ids", "attention_mask", "token_type_ids"}
