"""Models with fewer rows: nothing else about them changes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import FAMILIES, random_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from lit_distill.batch import Batch
from lit_distill.models import LanguageModel, trim_model
from lit_distill.models.architectures.table import ANATOMIES

KEPT = tuple(sorted({*range(10), *random.Random(3).sample(range(10, 40), 15)}))
"""What the padded batch is made of, among others; of 40."""
HEADLESS = [row for row in ANATOMIES if not row.has_head]
TASKS = [row for row in ANATOMIES if row.has_labels and row.model_type in ("bert", "gpt2")]


def read_by(model: PreTrainedModel, old: tuple[int, ...] | None, batch: Batch) -> dict[str, Tensor]:
    """Hidden states and logits of a batch of old ids; `old`: the ids that a trimmed model kept."""
    own = dict(batch)
    for name in ("input_ids", "decoder_input_ids"):
        if name in own and old is not None:
            own[name] = torch.searchsorted(torch.tensor(old), own[name])
    inputs = {name: own[name] for name in own if name != "tokens"}
    with torch.no_grad():
        outputs = model(**inputs, output_hidden_states=True)
    names = ("hidden_states", "encoder_hidden_states", "decoder_hidden_states", "logits")
    found = {name: outputs[name] for name in names if name in outputs}
    return {name: torch.stack(v) if isinstance(v, tuple) else v for name, v in found.items()}


def batch_of(model: PreTrainedModel, make_batch: Callable[..., Batch]) -> Batch:
    """A padded batch in which all ids are among `KEPT`."""
    batch = make_batch(LanguageModel(model))
    table = torch.tensor(KEPT)
    known = table[table > 4]
    for name in ("input_ids", "decoder_input_ids"):
        if name in batch:
            ids = batch[name]
            batch[name] = torch.where(ids > 4, known[ids % len(known)], ids)
    return batch


def assert_same(old: dict[str, Tensor], new: dict[str, Tensor]) -> None:
    assert old
    assert old.keys() == new.keys()
    for name, states in old.items():
        if name == "logits":
            torch.testing.assert_close(new[name], states[..., list(KEPT)], rtol=0, atol=1e-6)
        else:
            assert torch.equal(new[name], states), name


def with_biases(model: PreTrainedModel) -> PreTrainedModel:
    if hasattr(model, "final_logits_bias"):  # Marian's and BART's, which start at 0
        model.final_logits_bias = nn.Buffer(torch.randn_like(model.final_logits_bias))
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_kept_logits_are_what_they_were(
    family: str, make_batch: Callable[..., Batch], tmp_path: Path
) -> None:
    model = with_biases(random_model(family))
    batch = batch_of(model, make_batch)
    before = read_by(model, None, batch)
    trim_model(model, KEPT)
    assert_same(before, read_by(model, KEPT, batch))
    assert model.config.vocab_size == len(KEPT)
    model.save_pretrained(tmp_path)
    again, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[name] for name in ("missing_keys", "mismatched_keys"))
    assert_same(before, read_by(again.eval(), KEPT, batch))


@pytest.mark.parametrize("row", HEADLESS, ids=lambda row: row.architecture)
def test_bodies_alone_keep_their_states(row: Any, make_batch: Callable[..., Batch]) -> None:
    model = random_model(row)
    batch = batch_of(model, make_batch)
    before = read_by(model, None, batch)
    trim_model(model, KEPT)
    assert_same(before, read_by(model, KEPT, batch))
    assert len(model.get_input_embeddings().weight) == len(KEPT)


@pytest.mark.parametrize("row", TASKS, ids=lambda row: row.architecture)
def test_the_head_of_a_task_is_kept(row: Any, make_batch: Callable[..., Batch]) -> None:
    model = random_model(row)
    batch = make_batch(LanguageModel(model))
    states = {name: value for name, value in batch.items() if name != "tokens"}
    weights = model.get_submodule(row.lm_head_path).weight.clone()
    with torch.no_grad():
        ids = torch.searchsorted(torch.tensor(KEPT), states["input_ids"] % 10)
        before = model(**{**states, "input_ids": states["input_ids"] % 10})[0]
        trim_model(model, KEPT)
        after = model(**{**states, "input_ids": ids})[0]
    assert torch.equal(before, after)
    assert torch.equal(model.get_submodule(row.lm_head_path).weight, weights)
