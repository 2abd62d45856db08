"""Batches against a row-by-row oracle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from data_modules.feeding.collation import Collator
from data_modules.objectives.objectives import MaskedTokens, NextToken, NoTargets
from lit_distill.batch import row_languages

PAD, SIZE = 0, 40
ROLES = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}


@dataclass
class Memory:
    """A corpus in memory; rows of token ids."""

    rows: list[np.ndarray]
    language: np.ndarray

    @property
    def lengths(self):
        return np.array([len(row) for row in self.rows], dtype=np.int32)

    tag_names = ()

    def gather(self, windows):
        return np.concatenate([self.rows[window] for window in windows])


@pytest.fixture
def memory():
    draw = np.random.default_rng(0)
    bodies = [draw.integers(4, SIZE, size) for size in draw.integers(1, 30, 50)]
    rows = [np.array([1, *body, 2], dtype=np.int32) for body in bodies]
    return Memory(rows, draw.integers(0, 3, 50))


@pytest.fixture
def tokenizer():
    names = [*ROLES.values(), *(f"t{number}" for number in range(4, SIZE))]
    core = Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}))
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token=None, **ROLES)


def make(memory, tokenizer, objective, windows, pad_id=PAD):
    collate = Collator(memory, objective.bind(tokenizer, np.ones(SIZE), 0), pad_id)
    return collate(np.array(windows), np.zeros(len(windows), dtype=np.int64))


WINDOWS = [7, 3, 31, 12, 49, 0, 7]


@pytest.mark.parametrize("pad_id", [0, 5])
def test_plain_batch(memory, tokenizer, pad_id):
    batch = make(memory, tokenizer, NoTargets(), WINDOWS, pad_id)
    rows = [memory.rows[window].tolist() for window in WINDOWS]
    width = max(map(len, rows))
    assert batch["input_ids"].tolist() == [r + [pad_id] * (width - len(r)) for r in rows]
    assert batch["attention_mask"].tolist() == [[1] * len(r) + [0] * (width - len(r)) for r in rows]
    assert batch["sample_id"].tolist() == WINDOWS
    assert batch["language"].tolist() == memory.language[WINDOWS].tolist()
    real = [i * width + j for i, row in enumerate(rows) for j in range(len(row))]
    assert batch["tokens"].tolist() == real
    assert batch["counts"] == {"tokens": len(real), "sequences": 7, "rows": 0, "masked": 0}
    assert batch["rows"].numel() == batch["targets"].numel() == 0
    tensors = {name: value for name, value in batch.items() if name != "counts"}
    assert {value.dtype for value in tensors.values()} == {torch.int64}


def test_next_token_rows(memory, tokenizer):
    batch = make(memory, tokenizer, NextToken(), WINDOWS)
    width = batch["input_ids"].shape[1]
    expected = [
        (i * width + j, memory.rows[window][j + 1])
        for i, window in enumerate(WINDOWS)
        for j in range(len(memory.rows[window]) - 1)
    ]
    pairs = zip(batch["rows"].tolist(), batch["targets"].tolist(), strict=True)
    assert list(pairs) == expected
    flat_mask = batch["attention_mask"].flatten()
    assert flat_mask[batch["rows"]].all()
    assert flat_mask[batch["rows"] + 1].all()
    assert batch["counts"]["rows"] == len(expected)
    assert batch["counts"]["masked"] == 0


def test_masked_rows(memory, tokenizer):
    objective = MaskedTokens(probability=0.5)
    batch = make(memory, tokenizer, objective, WINDOWS)
    plain = make(memory, tokenizer, NoTargets(), WINDOWS)
    original = plain["input_ids"].flatten()
    assert torch.equal(batch["targets"], original[batch["rows"]])
    unselected = torch.ones_like(original, dtype=torch.bool)
    unselected[batch["rows"]] = False
    assert torch.equal(batch["input_ids"].flatten()[unselected], original[unselected])
    assert (batch["input_ids"].flatten()[batch["rows"]] == 3).any()
    assert torch.equal(batch["rows"], batch["rows"].sort().values)
    lengths = plain["attention_mask"].sum(1)
    wanted = torch.minimum((lengths + 1) // 2, lengths - 2)
    width = original.numel() // len(WINDOWS)
    assert torch.equal(torch.bincount(batch["rows"] // width, minlength=7), wanted)
    assert batch["counts"]["masked"] == batch["counts"]["rows"] == int(wanted.sum())
    assert torch.equal(row_languages(batch), batch["language"][batch["rows"] // width])


def test_batches_share_no_memory_with_the_corpus(memory, tokenizer):
    make(memory, tokenizer, MaskedTokens(), [3])["input_ids"].fill_(9)
    assert memory.rows[3][0] == 1
