"""Labels of the phrasebook: what they are, and what training never shows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import Trainer
from seqeval.metrics.sequence_labeling import get_entities

from data_modules import PhrasebookTasks
from data_modules.phrasebook import phrasebook
from data_modules.phrasebook_text.sentences import SENTIMENTS, SPOKEN
from data_modules.reading.sources import LanguageTexts
from data_modules.tasks.rows import LabelledText
from lit_distill.errors import UserError
from lit_distill.models import Predicted, TaskHead

SMALL: dict[str, Any] = {"sentences_per_language": 150, "validation_sentences": 40}


def rows(texts: LanguageTexts, split: str) -> list[LabelledText]:
    found = [row for reader in getattr(texts, split) for row in reader.rows()]
    assert all(isinstance(row, LabelledText) for row in found)
    return found


@pytest.mark.parametrize("task", ["topic", "sentiment"])
def test_labels_are_those_of_the_sentences(task: Any) -> None:
    book = phrasebook(0)
    for texts in PhrasebookTasks(task, ["de", "bn-hi-en"], **SMALL).texts():
        for split, count in (("train", 150), ("validation", 40), ("test", 40)):
            found = [(row.text, row.label) for row in rows(texts, split)]
            wanted = book.sentences(texts.language, split, count)  # type: ignore[arg-type]
            assert found == [(one.text, getattr(one, task)) for one in wanted]


def test_every_label_is_trained_and_measured() -> None:
    """None is so rare that its share in the mean is chance, none so common that it is enough."""
    for task, labels, most in (("topic", 12, 0.16), ("sentiment", 3, 0.5)):
        (texts,) = PhrasebookTasks(task, ["en"]).texts()  # type: ignore[arg-type]
        for split in ("train", "validation", "test"):
            counts = Counter(row.label for row in rows(texts, split))
            assert len(counts) == labels
            assert min(counts.values()) > 0.04 * counts.total()
            assert max(counts.values()) < most * counts.total()
    assert {*counts} == {*SENTIMENTS}


def test_no_split_has_a_text_of_another_in_any_language() -> None:
    """Nor of what a language model reads in training, up to case and white space."""
    readers = PhrasebookTasks(**SMALL).texts()
    train = {
        "".join(one.text.casefold().split())
        for language in SPOKEN
        for one in phrasebook(0).sentences(language, "train", 500)
    }
    found = {
        split: {"".join(row.text.casefold().split()) for one in readers for row in rows(one, split)}
        for split in ("validation", "test")
    }
    assert len(found["test"]) > 39 * len(SPOKEN) > 0
    assert not found["test"] & found["validation"]
    assert not (found["test"] | found["validation"]) & train


def test_halves_of_what_is_new() -> None:
    book = phrasebook(0)
    told = {
        one.text: one.template in book.held_out_templates
        for split in ("validation", "test")
        for one in book.sentences("es", split, 200)  # type: ignore[arg-type]
    }
    for split in ("validation", "test"):
        texts = {
            half: [row.text for row in rows(PhrasebookTasks(
                languages=["es"], held_out=half, **SMALL).texts()[0], split)]  # type: ignore[arg-type]
            for half in ("templates", "words", "both")
        }  # fmt: skip
        assert [len(own) for own in texts.values()] == [40, 40, 40]
        assert all(told[text] for text in texts["templates"])
        assert not any(told[text] for text in texts["words"])
        assert texts["both"] == [
            text
            for pair in zip(texts["templates"], texts["words"], strict=True)
            for text in pair
        ][:40]  # fmt: skip


def test_languages_that_are_not_trained_on_are_only_tested() -> None:
    """No validation text either: a run would be selected by it."""
    tasks = PhrasebookTasks(languages=["de", "en", "hi"], train_languages=["en"], **SMALL)
    given = {
        one.language: [len(rows(one, split)) for split in ("train", "validation", "test")]
        for one in tasks.texts()
    }
    assert given == {"de": [0, 0, 40], "en": [150, 40, 40], "hi": [0, 0, 40]}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"train_languages": ["de"]}, "train_languages has de, and the task's languages are en"),
        ({"train_languages": []}, "train_languages has no language"),
        ({"languages": ["fr"]}, "speaks en, hi, .*, not 'fr'"),
        ({"validation_sentences": 0}, "validation_sentences"),
    ],
)
def test_what_cannot_work_is_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        PhrasebookTasks(**{"languages": ["en"], **options})


def test_batches(tiny_bert: Path, tmp_path: Path) -> None:
    tasks = PhrasebookTasks(
        "sentiment", ["de", "hi-en"], tokenizer=str(tiny_bert), cache_dir=str(tmp_path),
        max_length=256, **SMALL,
    )  # fmt: skip
    tasks.prepare_data()
    tasks.setup("fit")
    assert tasks.languages == ["de", "hi-en"]
    assert tasks.labels == sorted(SENTIMENTS)
    assert np.bincount(tasks.train.language).tolist() == [150, 150]
    batch = tasks.collator()(np.arange(8), np.zeros(8, dtype=np.int64))
    sentences = phrasebook(0).sentences("de", "train", 8)
    assert [tasks.labels[label] for label in batch["targets"].tolist()] == [
        one.sentiment for one in sentences
    ]


def test_tags_of_words_are_the_entities_in_iob2() -> None:
    """Read back by seqeval, of every language: first word to last, with their type."""
    book, many = phrasebook(0), 0
    for language in SPOKEN:
        (texts,) = PhrasebookTasks("entities", [language], **SMALL).texts()
        said = book.sentences(language, "train", 150)
        for row, one in zip(rows(texts, "train"), said, strict=True):
            words = [row.text[start:end] for start, end in row.words]
            assert words == list(one.tokens)
            found = get_entities(list(row.tags))
            spans = [(row.words[a][0], row.words[b][1], kind) for kind, a, b in found]
            for (start, end, kind), (begin, stop, wanted) in zip(spans, one.entities, strict=True):
                assert (start, kind) == (begin, wanted)
                assert end >= stop  # "Clara's"
                many += " " in row.text[start:end]
    assert many > 10


def test_words_have_their_tags_in_batches(tiny_bert: Path, tmp_path: Path) -> None:
    tasks = PhrasebookTasks(
        "entities", ["de", "hi"], train_languages=["de"], tokenizer=str(tiny_bert),
        cache_dir=str(tmp_path), max_length=256, **SMALL,
    )  # fmt: skip
    tasks.prepare_data()
    tasks.setup("fit")
    assert tasks.task_head == TaskHead(Predicted.TOKEN_LABELS, tuple(tasks.labels))
    assert tasks.labels == ["B-EVENT", "B-PERSON", "B-PLACE", "I-EVENT", "O"]
    assert tasks.languages == ["de", "hi"]
    assert {*tasks.train.language.tolist()} == {0}  # of hi there is no training text
    batch = tasks.collator()(np.arange(8), np.zeros(8, dtype=np.int64))
    sentences = phrasebook(0).sentences("de", "train", 8)
    assert len(batch["targets"]) == sum(len(one.tokens) for one in sentences)
    named = [tasks.labels[label] for label in batch["targets"].tolist()]
    persons = sum(kind == "PERSON" for one in sentences for *_, kind in one.entities)
    assert named.count("B-PERSON") == persons > 3


def test_a_language_that_is_only_tested_is_measured(tiny_bert: Path, tmp_path: Path) -> None:
    tasks = PhrasebookTasks(
        "topic", ["de", "en", "hi"], train_languages=["en"], tokenizer=str(tiny_bert),
        cache_dir=str(tmp_path), max_length=256, batch_tokens=512, **SMALL,
    )  # fmt: skip
    tasks.prepare_data()
    tasks.setup("fit")
    tasks.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
    for loaders, wanted in ((tasks.val_dataloader(), [1]), (tasks.test_dataloader(), [0, 1, 2])):
        found = [{n for batch in one for n in batch["language"].tolist()} for one in loaders]
        assert found == [{number} for number in wanted]
    assert tasks.shares().tolist() == [0.0, 1.0, 0.0]
