"""Phrasebook translation and arithmetic: right answers, and splits that share nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import prompted
import pytest
from lightning.pytorch import Trainer

from data_modules import ArithmeticCorpus, PhrasebookTranslation
from data_modules.phrasebook import phrasebook
from lit_distill.errors import UserError


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {
        "tokenizer": prompted.tokenizer(tmp_path / "tokenizer"), "max_length": 512,
        "batch_tokens": 2048, "cache_dir": str(tmp_path / "cache"),
    }  # fmt: skip


def said(corpus: Any) -> dict[str, dict[str, list[Any]]]:
    """The rows of every language and split."""
    return {
        texts.language: {
            split: [row for reader in getattr(texts, split) for row in reader.rows()]
            for split in ("train", "validation", "test")
        }
        for texts in corpus.texts()
    }


@pytest.mark.parametrize("held_out", ["sentences", "words"])
def test_translations_are_right_and_splits_disjoint(options: dict[str, Any], held_out: str) -> None:
    corpus = PhrasebookTranslation(targets=["hi", "hi-en"], held_out=held_out, **options,
                                   sentences_per_language=300, validation_sentences=40)  # fmt: skip
    found = said(corpus)
    assert set(found) == {"en>hi", "en>hi-en"}
    book = phrasebook(0)
    pairs = zip(*(book.sentences(tag, "train", 380) for tag in ("en", "hi")), strict=True)
    known = {english.text: hindi.text for english, hindi in pairs}
    for row in found["en>hi"]["train"]:
        assert row.prompt == f"English to Hindi: {row.group}\n"
        assert row.response == known[row.group]
    for own in found.values():
        assert [len(own[split]) for split in own] == [300, 40, 40]
    groups = {split: {row.group for row in found["en>hi"][split]} for split in found["en>hi"]}
    assert groups == {
        split: {row.group for row in found["en>hi-en"][split]} for split in found["en>hi-en"]
    }
    if held_out == "words":
        unknown = {s.text for s in book.sentences("en", "validation", 40)}
        assert groups["validation"] == unknown


def test_measured_sentences_do_not_depend_on_how_many_are_trained_on(
    options: dict[str, Any],
) -> None:
    settings = {"targets": ["de"], "validation_sentences": 30, **options}
    few, many = (
        said(PhrasebookTranslation(sentences_per_language=count, **settings)) for count in (50, 200)
    )
    assert few["en>de"]["validation"] == many["en>de"]["validation"]
    assert few["en>de"]["train"] == many["en>de"]["train"][:50]


def test_a_sentence_that_is_measured_is_never_trained_on(options: dict[str, Any]) -> None:
    """Two sentences of the phrasebook may be one text in the source language."""
    corpus = PhrasebookTranslation(targets=["de", "hi"], sentences_per_language=400,
                                   validation_sentences=60, **options)  # fmt: skip
    corpus.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
    corpus.prepare_data()
    corpus.setup("fit")
    found: dict[str, set[str]] = {}
    for split, store in corpus._stores.items():
        batch = corpus._collator(split)(indices := np.arange(len(store.lengths)), indices)
        found[split] = {
            text.partition(": ")[2]
            for text in corpus.tokenizer.batch_decode(batch["prompt_ids"], skip_special_tokens=True)
        }
    assert not found["train"] & (found["validation"] | found["test"])


def test_arithmetic_is_right_and_splits_disjoint(options: dict[str, Any]) -> None:
    found = said(ArithmeticCorpus(problems_per_kind=200, validation_problems=20, **options))
    assert set(found) == {"plus", "minus", "times", "chain"}
    for own in found.values():
        assert [len(own[split]) for split in own] == [200, 20, 20]
        prompts = [{row.prompt for row in own[split]} for split in own]
        assert sum(map(len, prompts)) == len(set.union(*prompts)) == 240
        for row in (row for rows in own.values() for row in rows):
            problem = row.prompt.removesuffix(" =")
            for step in row.response.split("="):
                assert eval(step) == eval(problem)
    steps = found["chain"]["train"][0].response
    assert "=" in steps


def test_few_numbers_give_few_problems(options: dict[str, Any]) -> None:
    found = said(ArithmeticCorpus(["plus"], largest=9, **options))["plus"]
    assert sum(len(rows) for rows in found.values()) <= 100


def test_what_cannot_work_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="not 'french'"):
        PhrasebookTranslation(targets=["french"], **options)
    with pytest.raises(UserError, match="cannot be translated"):
        PhrasebookTranslation(source="de", targets=["de"], **options)
    with pytest.raises(UserError, match=r"needs \{text\}"):
        PhrasebookTranslation(prompt="{sentence}", **options)
    with pytest.raises(UserError, match="kinds plus"):
        ArithmeticCorpus(["roots"], **options)
    with pytest.raises(UserError, match="fewer numbers"):
        ArithmeticCorpus(largest=3, **options)
