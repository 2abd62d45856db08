"""Labelled texts, hand-made batches of them, and tiny classifiers."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import batches
import torch
from batches import Sample
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from lit_distill.batch import LabelledBatch
from lit_distill.task_batches import labelled_batch

LABELS = ["bad", "fair", "good"]
Pair = tuple[list[int], list[int], int]
"""Ids of two texts with their special tokens, and the label."""


def classifier(tiny_bert: Path, folder: Path, labels: list[str] = LABELS, seed: int = 1) -> Path:
    """A folder with a random 4-layer BERT of width 16 that classifies texts, and its tokenizer."""
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig.from_pretrained(
        tiny_bert,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = BertForSequenceClassification(config)
    with torch.no_grad():  # far enough from uniform that a wrong loss shows
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(folder)
    return folder


def rows(count: int, words: str, seed: int = 0, second: bool = False) -> list[dict[str, Any]]:
    """Distinct word salads whose label is told by their first word."""
    draw, known = random.Random(f"{words}{seed}"), words.split()
    found: dict[str, dict[str, Any]] = {}
    while len(found) < count:
        text = " ".join(draw.choices(known, k=draw.randint(3, 9)))
        label = LABELS[known.index(text.split()[0]) % 3]
        more = {"other": " ".join(draw.choices(known, k=draw.randint(1, 4)))} if second else {}
        found[text] = {"text": text, **more, "label": label}
    return list(found.values())


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path


def pairs(count: int, vocab_size: int = 100, seed: int = 0) -> list[Pair]:
    """Two texts each of 2 to 6 tokens, with a label."""
    draw = random.Random(seed)

    def text(least: int) -> list[int]:
        return [draw.randrange(5, vocab_size) for _ in range(draw.randint(least, 6))]

    return [(text(2), text(1), draw.randrange(3)) for _ in range(count)]


def collate(texts: list[Pair], extra: int = 0) -> LabelledBatch:
    """Pads to the longest pair plus `extra` columns."""
    width = max(len(one) + len(other) for one, other, _ in texts) + extra
    ids, mask, types = (torch.zeros(len(texts), width, dtype=torch.int64) for _ in range(3))
    for index, (one, other, _) in enumerate(texts):
        length = len(one) + len(other)
        ids[index, :length] = torch.tensor([*one, *other])
        mask[index, :length] = 1
        types[index, len(one) : length] = 1
    labels = torch.tensor([label for _, _, label in texts])
    languages = [sum(one) % 2 for one, _, _ in texts]
    return labelled_batch(ids, mask, labels, languages, types)


def labels_of(texts: list[Sample], extra: int = 0) -> LabelledBatch:
    """Texts with a label each; those without masked positions have none."""
    read = batches.collate(texts, extra)
    ids, mask, languages = read["input_ids"], read["attention_mask"], read["language"].tolist()
    labels = torch.tensor([t.number % len(LABELS) for t in texts])
    batch = labelled_batch(ids, mask, labels, languages)
    known = torch.tensor([bool(text.masked) for text in texts])
    batch["rows"], batch["targets"] = batch["rows"][known], batch["targets"][known]
    batch["counts"].update(rows=int(known.sum()), decisions=int(known.sum()))
    return batch
