"""Fixtures of tiny models; see `architectures`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from architectures import FAMILIES, random_model
from transformers import PreTrainedModel

from lit_distill.batch import Batch
from lit_distill.models import LanguageModel
from lit_distill.models.architectures.table import anatomy_of_type


def padded_batch(
    model: LanguageModel, lengths: tuple[int, ...] = (9, 5, 7), width: int = 9
) -> Batch:
    """Right-padded ids; the same ids for the same lengths whatever the width."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.full((len(lengths), width), model.config.pad_token_id or 0)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(5, 40, (length,), generator=generator)
        mask[row, :length] = 1
    tokens = mask.flatten().nonzero().squeeze(1)
    if model.reads_pairs:  # of which the target has the lengths and the width that were asked for
        sources = torch.tensor([[5, 6, 7, 8], [9, 10, 1, 1], [11, 12, 13, 1]])
        return {
            "input_ids": sources,
            "attention_mask": (sources != 1).long(),
            "decoder_input_ids": ids,
            "decoder_attention_mask": mask,
            "tokens": tokens,
        }
    return {"input_ids": ids, "attention_mask": mask, "tokens": tokens}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[name for name in FAMILIES if anatomy_of_type(name).causal])
def causal_family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(family: str) -> LanguageModel:
    return LanguageModel(random_model(family))


@pytest.fixture
def batch(model: LanguageModel) -> Batch:
    return padded_batch(model)


@pytest.fixture(name="make_model")
def _make_model() -> Callable[..., PreTrainedModel]:
    return random_model


@pytest.fixture(name="make_batch")
def _make_batch() -> Callable[..., Batch]:
    return padded_batch


@pytest.fixture
def bert() -> LanguageModel:
    return LanguageModel(random_model("bert"))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with a saved BERT."""
    random_model("bert").save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"
