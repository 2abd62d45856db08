"""Retrieval sets of a few words, whose passages say their number and their language."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer

from data_modules import RetrievalCorpus

Make = Callable[..., RetrievalCorpus]
TAGS = ("aa", "bb", "cc")
WORDS = ["river", "house", "cat", "children", "book", "wall"]
LISTS = 40


def text(number: int, tag: str) -> str:
    """A passage: its words say its number, and the first one its language."""
    first = {"aa": "the", "bb": "der", "cc": "long"}[tag]
    return f"{first} {' '.join(WORDS[int(digit) % 6] for digit in np.base_repr(number + 36, 6))}"


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def ready(corpus: RetrievalCorpus) -> RetrievalCorpus:
    corpus.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
    corpus.prepare_data()
    corpus.setup("fit")
    return corpus


def read(corpus: RetrievalCorpus, batch: Any, view: str) -> list[str]:
    ids = batch[f"{view}input_ids"]
    return [corpus.tokenizer.decode(row, skip_special_tokens=True) for row in ids]
