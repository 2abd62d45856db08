"""A labelled corpus with a test split, whose label is told by the first word of a text."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import WORDS
from labelled import rows, write

from data_modules import LabelledCorpus, LabelledSource


@pytest.fixture
def corpus(tmp_path: Path) -> LabelledCorpus:
    """Two languages; without a tokenizer, as an evaluation has it."""
    for language, words in WORDS.items():
        write(tmp_path / f"{language}.jsonl", rows(120, words))
        write(tmp_path / f"{language}.test.jsonl", rows(40, words, seed=9))
    files = {"files": "{language}.jsonl", "test": "{language}.test.jsonl"}
    return LabelledCorpus(
        [LabelledSource(languages=[*WORDS], **files)], str(tmp_path),
        max_length=16, batch_tokens=128, holdout=4,
        cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
