"""Who has read what a task asks: of splits that are read from their files, before any tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lightning.pytorch import LightningDataModule

from data_modules import LabelledCorpus, LabelledSource, PhrasebookCorpus, PhrasebookTasks
from data_modules.phrasebook import phrasebook
from lit_distill.errors import UserError
from lit_distill.files.seen_texts import SeenTexts, hashes_of
from lit_distill.tools.evaluating.cells.seen import seen_in


def model(folder: Path, *texts: str) -> str:
    folder.mkdir()
    SeenTexts.among(hashes_of(texts)).write(folder)
    return str(folder)


def test_pairs_are_known_by_each_of_their_texts(tmp_path: Path) -> None:
    rows = [
        {"a": "The cat sleeps.", "b": "A dog barks.", "label": "no"},
        {"a": "It rains.", "b": "The cat sleeps.", "label": "no"},
        {"a": "It snows.", "b": "It is cold.", "label": "yes"},
    ]
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = LabelledSource("en", None, "train.jsonl", test="test.jsonl", text="a", second="b")
    data = LabelledCorpus([source], str(tmp_path))
    assert seen_in(model(tmp_path / "m1", "the cat sleeps.", "IT IS COLD."), data) == 2
    assert seen_in(model(tmp_path / "m2", "The cat sleeps"), data) == 0
    assert seen_in(str(tmp_path / "none"), data) == 0
    assert seen_in("somebody/from-the-hub", data) == 0


def test_nothing_is_known_of_foreign_data(tmp_path: Path) -> None:
    assert seen_in(model(tmp_path / "m", "a text"), LightningDataModule()) == 0


def test_damage_is_told(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", "a text")
    (tmp_path / "m/seen_texts.json").write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        seen_in(folder, PhrasebookTasks(languages=["en"]))


def test_language_models_of_the_phrasebook_may_be_asked_for_its_labels(
    tiny_bert: Path, tmp_path: Path
) -> None:
    """The embedded defaults go together, with one seed; with two, test sentences were read."""
    sizes = {"sentences_per_language": 800, "validation_sentences": 60}
    corpus = PhrasebookCorpus(
        ["en", "hi-en"], tokenizer=str(tiny_bert), cache_dir=str(tmp_path), max_length=128, **sizes
    )
    corpus.prepare_data()
    corpus.setup("fit")
    folder = tmp_path / "export"
    folder.mkdir()
    corpus.seen_texts.write(folder)
    tasks = {"languages": ["en", "hi-en"], "validation_sentences": 300}
    assert seen_in(str(folder), PhrasebookTasks(**tasks)) == 0
    for split in ("train", "validation"):
        sentence = phrasebook(0).sentences("hi-en", split, 3)[2].text  # type: ignore[arg-type]
        assert corpus.seen_texts.overlap(hashes_of([sentence])) == 1
    test = phrasebook(0).sentences("en", "test", 1)[0].text
    assert seen_in(model(tmp_path / "m", test), PhrasebookTasks(**tasks)) == 1
