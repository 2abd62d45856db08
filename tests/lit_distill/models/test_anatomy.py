from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification
from transformers.pytorch_utils import Conv1D

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models import LanguageModel
from lit_distill.models.anatomy import anatomy_of_type


def test_organs_are_the_models_own(model: LanguageModel, family: str):
    anatomy, hf = model.anatomy, model.model
    assert anatomy.model_type == hf.config.model_type == family
    assert anatomy.model_class() is type(hf)
    assert len(anatomy.layers(hf)) == 4
    assert anatomy.decoder(hf) is hf.get_output_embeddings()
    assert hf.get_input_embeddings() in list(anatomy.embeddings(hf).modules())
    projections = [anatomy.projection(hf, 2, kind) for kind in ("query", "key", "value")]
    fused = family in ("modernbert", "gpt2")
    assert len({id(module) for module in projections}) == (1 if fused else 3)
    assert all(isinstance(module, nn.Linear | Conv1D) for module in projections)
    assert all(any(m is part for part in model.layers[2].modules()) for m in projections)


def test_head_prefixes_cover_all_but_the_body(model: LanguageModel):
    names = list(model.model.state_dict())  # tied weights under both names
    head = [name for name in names if name.startswith(model.anatomy.head_prefixes)]
    body = [name for name in names if name.startswith(model.model.base_model_prefix + ".")]
    assert head
    assert sorted(head + body) == sorted(names)


def test_max_length_is_the_longest_that_the_model_runs(model: LanguageModel, family: str):
    assert model.max_length == (18 if "roberta" in family else 20)
    fits: Batch = {
        "input_ids": torch.full((1, model.max_length), 7),
        "attention_mask": torch.ones(1, model.max_length, dtype=torch.long),
    }
    assert model.encode(fits).hidden.shape == (1, model.max_length, 16)
    longer: Batch = {
        "input_ids": torch.full((1, model.max_length + 1), 7),
        "attention_mask": torch.ones(1, model.max_length + 1, dtype=torch.long),
    }
    if family in ("bert", "distilbert", "roberta", "xlm-roberta", "gpt2"):  # a table of positions
        with pytest.raises((IndexError, RuntimeError)):
            model.encode(longer)


def test_unsupported_architectures_name_the_supported_ones():
    config = BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1)
    classifier = BertForSequenceClassification(config)
    with pytest.raises(
        UserError,
        match=r"BertForSequenceClassification is not supported.*Supported: BertForMaskedLM, "
        r"DistilBertForMaskedLM, RobertaForMaskedLM, XLMRobertaForMaskedLM",
    ):
        LanguageModel(classifier)
    with pytest.raises(UserError, match=r"'mamba' is not supported.*bert, distilbert, roberta"):
        anatomy_of_type("mamba")
