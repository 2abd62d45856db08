from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForNextSentencePrediction
from transformers.pytorch_utils import Conv1D

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models import LanguageModel
from lit_distill.models.architectures.table import anatomy_of_type


def test_organs_are_the_models_own(model: LanguageModel, family: str):
    anatomy, hf = model.anatomy, model.model
    assert anatomy.model_type == hf.config.model_type == family
    assert anatomy.model_class() is type(hf)
    assert len(anatomy.layers(hf)) == 4
    assert anatomy.lm_head(hf) is hf.get_output_embeddings()
    tables = [getattr(part, "weight", None) for part in anatomy.embeddings(hf).modules()]
    assert any(table is hf.get_input_embeddings().weight for table in tables)
    paths = [anatomy.projection_paths[kind] for kind in ("query", "key", "value")]
    projections = [model.layers[2].get_submodule(path) for path in paths]
    fused = family in ("modernbert", "gpt2")
    assert len({id(module) for module in projections}) == (1 if fused else 3)
    assert all(isinstance(module, nn.Linear | Conv1D) for module in projections)
    assert all(any(m is part for part in model.layers[2].modules()) for m in projections)


def test_head_prefixes_cover_all_but_the_body(model: LanguageModel):
    names = list(model.model.state_dict())  # tied weights under both names
    head = [name for name in names if name.startswith(model.anatomy.head_prefixes)]
    body = [name for name in names if name not in head]
    if "t5" not in model.config.model_type:  # which has no module for its body
        assert all(name.startswith(model.model.base_model_prefix + ".") for name in body)
    assert head
    assert sorted(head + body) == sorted(names)


def test_max_length_is_the_longest_that_the_model_runs(model: LanguageModel, family: str):
    if "t5" in family:  # whose positions are distances
        assert model.max_length == sys.maxsize
        return
    assert model.max_length == (18 if "roberta" in family else 20)

    def batch(length: int) -> Batch:
        ids, mask = torch.full((1, length), 7), torch.ones(1, length, dtype=torch.long)
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "decoder_input_ids": ids,
            "decoder_attention_mask": mask,
        }

    assert model.encode(batch(model.max_length)).hidden.shape == (1, model.max_length, 16)
    longer = batch(model.max_length + 1)
    if family in (
        "bert",
        "distilbert",
        "roberta",
        "xlm-roberta",
        "gpt2",
        "bart",
        "mbart",
    ):  # a table of positions
        with pytest.raises((IndexError, RuntimeError)):
            model.encode(longer)


def test_unsupported_architectures_name_the_supported_ones():
    config = BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1)
    classifier = BertForNextSentencePrediction(config)
    with pytest.raises(
        UserError,
        match=r"BertForNextSentencePrediction is not supported.*Supported: BertForMaskedLM, "
        r"DistilBertForMaskedLM, RobertaForMaskedLM, XLMRobertaForMaskedLM",
    ):
        LanguageModel(classifier)
    with pytest.raises(UserError, match=r"'mamba' is not supported.*bert, distilbert, roberta"):
        anatomy_of_type("mamba")


def test_no_parameter_is_trained_that_nothing_reads(
    make_model: Callable[..., Any], make_batch: Callable[..., Batch], family: str
) -> None:
    for tied in (True, False):
        model = LanguageModel(make_model(family, tie_word_embeddings=tied))
        batch = make_batch(model)
        model.logits(model.encode(batch).rows(batch["tokens"])).sin().sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.requires_grad == (parameter.grad is not None), name
