"""Hand-made batches and a data module that serves them; nothing here uses our data modules."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from lit_distill.batch import Batch

MASK, PAD = 4, 0


@dataclass(frozen=True)
class Sample:
    """A text with its masked positions; `ids` are what the model reads."""

    number: int
    ids: list[int]
    masked: list[int]
    targets: list[int]
    language: int


def samples(count: int, vocab_size: int, longest: int = 12, seed: int = 0) -> list[Sample]:
    """Texts of 3 to `longest` tokens with 1 to 3 masked positions each."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        ids = [draw.randrange(5, vocab_size) for _ in range(draw.randint(3, longest))]
        masked = sorted(draw.sample(range(len(ids)), draw.randint(1, 3)))
        targets = [ids[position] for position in masked]
        read = [MASK if position in masked else token for position, token in enumerate(ids)]
        made.append(Sample(number, read, masked, targets, number % 2))
    return made


def next_tokens(text: Sample) -> Sample:
    """The same text unmasked, every token to be predicted by the one before."""
    ids = list(text.ids)
    for position, target in zip(text.masked, text.targets, strict=True):
        ids[position] = target
    return Sample(text.number, ids, list(range(len(ids) - 1)), ids[1:], text.language)


def collate(texts: list[Sample], extra: int = 0, causal: bool = False) -> Batch:
    """Pads to the longest text plus `extra` columns."""
    if causal:
        texts = [next_tokens(text) if text.masked else text for text in texts]
    width = max(len(text.ids) for text in texts) + extra
    rows, tokens, targets = [], [], []
    for index, text in enumerate(texts):
        rows += [index * width + position for position in text.masked]
        tokens += [index * width + position for position in range(len(text.ids))]
        targets += text.targets
    return Batch(
        input_ids=torch.tensor([t.ids + [PAD] * (width - len(t.ids)) for t in texts]),
        attention_mask=torch.tensor([[1] * len(t.ids) + [0] * (width - len(t.ids)) for t in texts]),
        language=torch.tensor([text.language for text in texts]),
        sample_id=torch.tensor([text.number for text in texts]),
        tokens=torch.tensor(tokens),
        rows=torch.tensor(rows, dtype=torch.int64),
        targets=torch.tensor(targets, dtype=torch.int64),
        counts={
            "tokens": len(tokens),
            "sequences": len(texts),
            "rows": len(rows),
            "masked": 0 if causal else len(rows),
        },
    )


def typed(batch: Batch) -> Batch:
    """The batch with `token_type_ids`: the second half of each text is of type 1."""
    mask = batch["attention_mask"]
    later = mask.cumsum(1) * 2 > mask.sum(1, keepdim=True)
    return Batch(**{**batch, "token_type_ids": (later & mask.bool()).long()})


def window(batches: list[Batch]) -> list[Batch]:
    """Marks the first micro-batch as the opening of an accumulation window."""
    if len(batches) == 1:
        return batches
    return [Batch(**{**batches[0], "window": batches}), *batches[1:]]


@dataclass(frozen=True)
class Fixed:
    """A loader of given batches (Lightning takes a plain list for several loaders)."""

    batches: list[Batch]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


class Served(LightningDataModule):
    """Serves given batches: `train[rank]` to each rank, `validation` to all."""

    def __init__(
        self, train: list[list[Batch]], validation: list[Batch] | None = None, tokenizer: Any = None
    ) -> None:
        super().__init__()
        self.train, self.validation, self.tokenizer = train, validation, tokenizer
        self.languages = ["xx", "yy"]
        first = [batch for batch in train[0][:1] if isinstance(batch, dict)]
        counts = [name for batch in first for name in batch["counts"]]
        self.tasks = {one.removesuffix("/batches"): None for one in counts if "/batches" in one}

    def train_dataloader(self) -> Fixed:
        assert self.trainer is not None
        return Fixed(self.train[self.trainer.global_rank])

    def val_dataloader(self) -> Fixed:
        return Fixed(self.validation or [])
