"""Models with fewer rows: what is tied, what is apart, and every id that their configs name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import SHAPES, random_model
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    PreTrainedModel,
)

from lit_distill.errors import UserError
from lit_distill.models import LanguageModel, anatomy_of, declare_separate, trim_model
from lit_distill.models.body.ties import keep_apart
from lit_distill.models.vocabularies.model_trimming import token_tables
from lit_distill.models.vocabularies.token_ids import ids_in_configs

KEPT = (0, 1, 2, 3, 5, 8, 13, 21, 34, 39)
ROWS = torch.tensor(KEPT)


def tables(model: PreTrainedModel) -> dict[str, Tensor]:
    """Copies of the tables of tokens by name, and which names are one table."""
    found = token_tables(model, anatomy_of(type(model).__name__))
    return {name: part.detach().clone() for name, part in found.items()}


def groups(model: PreTrainedModel) -> list[list[str]]:
    """Names of one table together."""
    found: dict[int, list[str]] = {}
    for name, part in token_tables(model, anatomy_of(type(model).__name__)).items():
        found.setdefault(id(part), []).append(name)
    return sorted(found.values())


def apart(family: str, names: list[str]) -> PreTrainedModel:
    """A model with tables of their own, of other values, that its config ties."""
    model = random_model(family)
    keep_apart(model, names)
    with torch.no_grad():
        for name in names:
            model.get_parameter(name).copy_(torch.randn_like(model.get_parameter(name)))
    return model


CASES: dict[str, Callable[[], PreTrainedModel]] = {
    **{family: lambda family=family: random_model(family) for family in SHAPES},
    "bert apart": lambda: apart("bert", ["cls.predictions.decoder.weight"]),
    "gpt2 apart": lambda: apart("gpt2", ["lm_head.weight"]),
    "t5 apart": lambda: apart("t5", ["lm_head.weight"]),
    "t5 all apart": lambda: apart(
        "t5", ["lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
    ),
    "bart apart": lambda: random_model("bart", tie_word_embeddings=False),
    "m2m_100 apart": lambda: random_model("m2m_100", tie_word_embeddings=False),
    "marian, two tables": lambda: random_model("marian", share_encoder_decoder_embeddings=False),
    "llama untied": lambda: random_model("llama", tie_word_embeddings=False),
    "llama tied": lambda: random_model("llama", tie_word_embeddings=True),
}


@pytest.mark.parametrize("case", CASES)
def test_every_table_has_its_kept_rows_and_ties_stay(case: str, tmp_path: Path) -> None:
    model = CASES[case]()
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias = nn.Buffer(torch.randn_like(model.final_logits_bias))
    old, tied, rest = tables(model), groups(model), model.state_dict().keys()
    untouched = {
        name: value.clone() for name, value in model.state_dict().items() if name not in old
    }
    assert len(old) > 1
    trim_model(model, KEPT)
    assert groups(model) == tied
    assert model.state_dict().keys() == rest
    for name, value in tables(model).items():
        assert torch.equal(value, old[name].index_select(-1 if "logits" in name else 0, ROWS)), name
    for name, value in untouched.items():
        assert torch.equal(model.state_dict()[name], value), name
    declare_separate(model)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    for name, value in tables(again).items():
        expected = old[name].index_select(-1 if "logits" in name else 0, ROWS)
        assert torch.equal(value, expected) or name == "model.shared.weight", name


def test_modules_know_their_new_size_and_padding() -> None:
    model = random_model("bert", pad_token_id=13)
    trim_model(model, KEPT)
    embeddings = model.get_input_embeddings()
    assert isinstance(embeddings, nn.Embedding)
    assert (embeddings.num_embeddings, embeddings.padding_idx) == (len(KEPT), 6)
    assert model.get_output_embeddings().out_features == len(KEPT)
    embeddings(torch.tensor([6, 1])).sum().backward()
    assert embeddings.weight.grad is not None
    assert embeddings.weight.grad.any(1).tolist() == [place == 1 for place in range(len(KEPT))]
    marian = random_model("marian", pad_token_id=39, decoder_start_token_id=39)
    trim_model(marian, KEPT)
    config = marian.config
    assert (config.vocab_size, config.decoder_vocab_size) == (len(KEPT), len(KEPT))
    assert (config.pad_token_id, config.decoder_start_token_id) == (9, 9)
    assert {marian.model.encoder.padding_idx, marian.model.decoder.padding_idx} == {9}


def everywhere(model: PreTrainedModel) -> PreTrainedModel:
    """A model whose configs name ids in all ways that there are."""
    config = model.config
    config.bos_token_id, config.eos_token_id, config.pad_token_id = 1, [2, 5], 3
    config.mask_token_id, config.image_token_index = 8, 39
    config.task_specific_params = {"writing": {"decoder_start_token_id": 13, "max_length": 13}}
    config.unk_token_id, config.far_token_id, config.no_token_id = 21, 50256, -1
    model.generation_config = GenerationConfig(
        bos_token_id=1, eos_token_id=[2, 5], pad_token_id=3, decoder_start_token_id=13,
        forced_bos_token_id=34, forced_eos_token_id=5, suppress_tokens=[8, 13],
        begin_suppress_tokens=[21], bad_words_ids=[[39], [5, 8]], force_words_ids=[[[13]]],
        sequence_bias=[[[5, 8], -1.0]], max_new_tokens=13, num_beams=5,
    )  # fmt: skip
    model.generation_config.forced_decoder_ids = [[5, 13]]
    return model


def test_every_id_in_the_configs_is_renumbered() -> None:
    model = everywhere(random_model("gpt2"))
    named = ids_in_configs(model, 40)
    assert named == {1, 2, 3, 5, 8, 13, 21, 34, 39}
    trim_model(model, KEPT)
    config, writing = model.config, model.generation_config
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, [2, 4], 3)
    assert (config.mask_token_id, config.unk_token_id, config.image_token_index) == (5, 7, 9)
    assert config.task_specific_params == {
        "writing": {"decoder_start_token_id": 6, "max_length": 13}
    }
    assert (config.far_token_id, config.no_token_id) == (50256, -1)  # no token had these
    assert (writing.bos_token_id, writing.eos_token_id, writing.pad_token_id) == (1, [2, 4], 3)
    assert (writing.decoder_start_token_id, writing.forced_bos_token_id) == (6, 8)
    assert (writing.forced_eos_token_id, writing.suppress_tokens) == (4, [5, 6])
    assert writing.begin_suppress_tokens == [7]
    assert writing.bad_words_ids == [[9], [4, 5]]
    assert writing.force_words_ids == [[[6]]]
    assert writing.sequence_bias == [[[4, 5], -1.0]]
    assert writing.forced_decoder_ids == [[5, 6]]  # the first of each is a place
    assert (writing.max_new_tokens, writing.num_beams) == (13, 5)
    assert ids_in_configs(model, len(KEPT)) == {KEPT.index(number) for number in named}


def test_a_dropped_id_in_a_config_is_an_error_and_changes_nothing() -> None:
    model = everywhere(random_model("gpt2"))
    before = model.config.to_dict(), model.generation_config.to_dict(), model.state_dict()
    for gone, said in ((34, "GenerationConfig.forced_bos_token_id is 34"), (21, "unk_token_id")):
        with pytest.raises(UserError, match=said):
            trim_model(model, tuple(number for number in KEPT if number != gone))
    after = model.config.to_dict(), model.generation_config.to_dict(), model.state_dict()
    assert before[:2] == after[:2]
    assert all(torch.equal(before[2][name], value) for name, value in after[2].items())


def test_marian_never_writes_its_padding() -> None:
    """By its bias, and by a forbidden word that is an id."""
    model = random_model("marian", pad_token_id=39, decoder_start_token_id=39)
    bias = torch.randn_like(model.final_logits_bias)
    bias[0, 39] = -torch.inf
    model.final_logits_bias = nn.Buffer(bias)
    model.generation_config.bad_words_ids = [[39]]
    trim_model(model, KEPT)
    assert model.generation_config.bad_words_ids == [[9]]
    assert torch.equal(model.final_logits_bias, bias[:, list(KEPT)])
    written = model.generate(torch.tensor([[3, 5, 2]]), max_new_tokens=8, do_sample=False)
    assert written[0, 0] == 9
    assert not (written[:, 1:-1] == 9).any()


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ((3, 1), "ascend, each once, and 1 follows 3"),
        ((1, 1), "ascend, each once, and 1 follows 1"),
        ((1, 40), "id 40 is out of range: the model had 40 rows"),
        ((-1, 4), "id -1 is out of range"),
        ((), "one at least"),
        ((1.0, 2), "whole numbers"),
    ],
)
def test_ids_that_are_no_selection_are_refused(kept: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        trim_model(random_model("bert"), kept)


def test_two_vocabularies_are_refused() -> None:
    model = random_model("marian", share_encoder_decoder_embeddings=False, decoder_vocab_size=30)
    with pytest.raises(UserError, match="reads and writes two vocabularies"):
        trim_model(model, KEPT)


@pytest.mark.parametrize("family", ["roberta", "m2m_100"])
def test_positions_that_are_counted_from_the_padding_stay(family: str) -> None:
    model = random_model(family, pad_token_id=5)
    with pytest.raises(UserError, match="counts positions from its padding id, 5, which would be"):
        trim_model(model, KEPT)
    kept = tuple(range(20))
    trim_model(model, kept)
    assert LanguageModel(model).vocab_size == 20
