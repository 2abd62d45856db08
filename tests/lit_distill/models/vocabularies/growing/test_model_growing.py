"""Models with rows for new pieces: means of old rows, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from architectures import FAMILIES, random_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models import LanguageModel
from lit_distill.models.architectures.table import ANATOMIES, anatomy_of
from lit_distill.models.body.ties import keep_apart
from lit_distill.models.vocabularies.growing.model_growing import grow_model
from lit_distill.models.vocabularies.growing.new_piece import NewPiece
from lit_distill.models.vocabularies.model_trimming import token_tables

TOKENS = 37
"""Of 40 rows: three pad the table."""
PIECES = tuple(
    NewPiece(f"new{place}", parts, "")
    for place, parts in enumerate([(5, 9, 30), (7, 7), (36, 2, 11, 8), (6, 5), (20, 21)])
)
SIZE = TOKENS + len(PIECES)
TASKS = [row for row in ANATOMIES if row.has_labels and row.model_type in ("bert", "gpt2")]
HEADLESS = [row for row in ANATOMIES if not row.has_head]


def with_biases(model: PreTrainedModel) -> PreTrainedModel:
    if hasattr(model, "final_logits_bias"):  # Marian's and BART's, which start at 0
        model.final_logits_bias = nn.Buffer(torch.randn_like(model.final_logits_bias))
    return model


def read_by(model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
    inputs = {name: batch[name] for name in batch if name != "tokens"}
    with torch.no_grad():
        outputs = model(**inputs, output_hidden_states=True)
    names = ("hidden_states", "encoder_hidden_states", "decoder_hidden_states", "logits")
    found = {name: outputs[name] for name in names if name in outputs}
    return {name: torch.stack(v) if isinstance(v, tuple) else v for name, v in found.items()}


def batch_of(model: PreTrainedModel, make_batch: Callable[..., Batch]) -> Batch:
    batch = make_batch(LanguageModel(model))
    for name in ("input_ids", "decoder_input_ids"):
        if name in batch:
            batch[name] = batch[name] % TOKENS
    return batch


def assert_same(old: dict[str, Tensor], new: dict[str, Tensor], by_token: bool = True) -> None:
    assert old
    assert old.keys() == new.keys()
    for name, states in old.items():
        if name == "logits" and by_token:
            assert new[name].shape[-1] == SIZE
            torch.testing.assert_close(
                new[name][..., :TOKENS], states[..., :TOKENS], rtol=0, atol=1e-6
            )
        else:
            assert torch.equal(new[name], states), name


def tables(model: PreTrainedModel) -> dict[str, Tensor]:
    """A copy of whatever has an entry per token, tokens first."""
    anatomy = anatomy_of(type(model).__name__, model.config.to_dict())
    found = token_tables(model, anatomy)
    return {
        name: (part if part.dim() == 2 and isinstance(part, nn.Parameter) else part.reshape(-1))
        .detach()
        .clone()
        for name, part in found.items()
    }


def assert_means(old: dict[str, Tensor], new: dict[str, Tensor]) -> None:
    assert old.keys() == new.keys()
    for name, before in old.items():
        assert torch.equal(new[name][:TOKENS], before[:TOKENS]), name
        for place, piece in enumerate(PIECES):
            expected = torch.zeros_like(before[0], dtype=torch.float64)
            for part in piece.parts:
                expected = expected + before[part].double()
            expected = expected / len(piece.parts)
            row = new[name][TOKENS + place].double()
            torch.testing.assert_close(row, expected, rtol=0, atol=1e-6)
        assert len(new[name]) == SIZE


@pytest.mark.parametrize("family", FAMILIES)
def test_old_ids_have_the_states_and_logits_that_they_had(
    family: str, make_batch: Callable[..., Batch], tmp_path: Path
) -> None:
    model = with_biases(random_model(family))
    batch, rows = batch_of(model, make_batch), tables(model)
    before = read_by(model, batch)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    grow_model(model, TOKENS, PIECES)
    assert_same(before, read_by(model, batch))
    assert_means(rows, tables(model))
    assert model.config.vocab_size == SIZE
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    model.save_pretrained(tmp_path)
    again, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[name] for name in ("missing_keys", "mismatched_keys"))
    assert_same(before, read_by(again.eval(), batch))
    assert_means(rows, tables(again))


@pytest.mark.parametrize(
    ("family", "head"),
    [("bert", "cls.predictions.decoder.weight"), ("llama", "lm_head.weight")],
)
def test_a_head_of_its_own_grows_by_its_own_rows(
    family: str, head: str, make_batch: Callable[..., Batch]
) -> None:
    model = random_model(family, tie_word_embeddings=True)
    keep_apart(model, [head])
    with torch.no_grad():
        model.get_parameter(head).add_(torch.randn_like(model.get_parameter(head)))
    batch, rows = batch_of(model, make_batch), tables(model)
    before = read_by(model, batch)
    grow_model(model, TOKENS, PIECES)
    assert_same(before, read_by(model, batch))
    assert_means(rows, tables(model))


@pytest.mark.parametrize("row", [*HEADLESS, *TASKS], ids=lambda row: row.architecture)
def test_bodies_and_heads_of_tasks(row: object, make_batch: Callable[..., Batch]) -> None:
    model = random_model(row)  # type: ignore[arg-type]
    batch, rows = batch_of(model, make_batch), tables(model)
    before = read_by(model, batch)
    grow_model(model, TOKENS, PIECES)
    assert_same(before, read_by(model, batch), by_token=False)
    assert_means(rows, tables(model))


def test_tokens_without_rows_are_refused() -> None:
    with pytest.raises(UserError, match="ids up to 40 and the model 40 rows"):
        grow_model(random_model("bert"), 41, PIECES)
