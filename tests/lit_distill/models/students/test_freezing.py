"""Frozen bodies, and values taken over from a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models import (
    LanguageModel,
    copy_matching_weights,
    freeze_body,
    shortest_module_names,
)
from lit_distill.models.architectures.table import anatomy_of_type
from lit_distill.models.students.freezing import freeze_named

ENCODERS = ["bert", "distilbert", "roberta", "xlm-roberta", "modernbert"]


@pytest.mark.parametrize("family", ENCODERS)
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_head_fit_moves_no_hidden_state(
    family: str, tied: bool, make_model: Callable[..., Any], make_batch: Callable[..., Batch]
) -> None:
    model = LanguageModel(make_model(family, tie_word_embeddings=tied))
    batch = make_batch(model)
    before = model.encode(batch).hidden.clone()
    freeze_body(model)
    trained = {name for name, p in model.model.named_parameters() if p.requires_grad}
    assert trained
    logits = model.logits(model.encode(batch).rows(batch["tokens"]))
    logits.square().mean().backward()
    with torch.no_grad():
        for name, parameter in model.model.named_parameters():
            assert (parameter.grad is not None) == (name in trained)
            if parameter.grad is not None:
                parameter -= parameter.grad
        after = model.encode(batch).hidden
        moved = model.logits(after.flatten(0, 1)[batch["tokens"]])
    assert torch.equal(after, before)
    assert not torch.equal(moved, logits)
    decoder = model.anatomy.lm_head(model.model).weight
    assert decoder.requires_grad != tied
    assert model.model.get_input_embeddings().weight.requires_grad is False


@pytest.mark.parametrize("family", [*ENCODERS, "gpt2"])
def test_the_highest_layers_may_be_fitted_too(
    family: str, make_model: Callable[..., Any], make_batch: Callable[..., Batch]
) -> None:
    model = LanguageModel(make_model(family))
    freeze_body(model, top_layers=1)
    trained = {name for name, p in model.model.named_parameters() if p.requires_grad}
    last = f"{model.anatomy.layers_path}.3."
    assert {name for name, _ in model.model.named_parameters() if name.startswith(last)} <= trained
    assert all(name.startswith((last, *model.anatomy.head_prefixes)) for name in trained)
    batch = make_batch(model)
    model.logits(model.encode(batch).rows(batch["tokens"])).square().mean().backward()
    assert {name for name, p in model.model.named_parameters() if p.grad is not None} == trained
    with pytest.raises(UserError, match=r"top_layers=5: .* has 4 layers; .* 0 to 4"):
        freeze_body(model, top_layers=5)


def test_a_head_that_is_the_embedding_cannot_be_fitted(make_model: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"head of GPT2LMHeadModel is its embedding"):
        freeze_body(LanguageModel(make_model("gpt2")))


def test_values_of_the_same_name_and_shape_are_taken_over(make_model: Callable[..., Any]) -> None:
    teacher = LanguageModel(make_model("bert"))
    student = LanguageModel(make_model("bert", num_hidden_layers=2, intermediate_size=12))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.zero_()
    layer, other = (f"bert.encoder.layer.{n}.attention.output.dense.weight" for n in (1, 3))
    wide = "bert.encoder.layer.1.intermediate.dense.weight"
    head = "cls.predictions.transform.dense.weight"
    copied = copy_matching_weights(student, teacher, [layer, wide, head], {1: 3})
    assert copied == [layer, head]
    ours, theirs = student.model.state_dict(), teacher.model.state_dict()
    assert torch.equal(ours[layer], theirs[other])
    assert torch.equal(ours[head], theirs[head])
    assert not ours[wide].any()
    assert not ours["bert.encoder.layer.0.attention.output.dense.weight"].any()


def test_another_architecture_has_other_names(make_model: Callable[..., Any]) -> None:
    student, teacher = (LanguageModel(make_model(f)) for f in ("distilbert", "bert"))
    assert anatomy_of_type("distilbert").layers_path in "distilbert.transformer.layer"
    names = [name for name, _ in student.model.named_parameters()]
    assert copy_matching_weights(student, teacher, names, {3: 3}) == []


def test_a_module_stands_for_its_parameters_only_if_all_are_meant() -> None:
    module = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU()))
    module.append(torch.nn.Linear(1, 1))
    assert shortest_module_names(["0.0.weight", "0.0.bias", "1.bias"], module) == ["0", "1.bias"]
    assert shortest_module_names([], module) == []


@pytest.mark.parametrize(
    ("family", "pattern", "frozen"),
    [
        ("bert", "embeddings", "bert.embeddings."),
        ("bert", "bert.embeddings", "bert.embeddings."),
        ("bert", "embeddings.*", "bert.embeddings."),
        ("bert", "encoder.layer.[01]", ("bert.encoder.layer.0.", "bert.encoder.layer.1.")),
        ("bert", "*.transform.dense.weight", "cls.predictions.transform.dense.weight"),
        ("gpt2", "w[tp]e", ("transformer.wte.", "transformer.wpe.")),
        ("qwen3", "model.layers.3.self_attn", "model.layers.3.self_attn."),
    ],
)  # fmt: skip
def test_weights_are_frozen_by_name(
    family: str, pattern: str, frozen: str | tuple[str, ...], make_model: Callable[..., Any]
) -> None:
    model = LanguageModel(make_model(family, tie_word_embeddings=False))
    before = {name for name, p in model.model.named_parameters() if p.requires_grad}
    freeze_named(model, [pattern])
    after = {name for name, p in model.model.named_parameters() if p.requires_grad}
    assert before - after == {name for name in before if name.startswith(frozen)}
    assert before - after


def test_a_tied_weight_is_frozen_by_either_name(make_model: Callable[..., Any]) -> None:
    for pattern in ("embeddings.word_embeddings", "cls.predictions.decoder.weight"):
        model = LanguageModel(make_model("bert", tie_word_embeddings=True))
        freeze_named(model, [pattern])
        assert not model.anatomy.lm_head(model.model).weight.requires_grad


def test_a_pattern_that_names_nothing(make_model: Callable[..., Any]) -> None:
    model = LanguageModel(make_model("bert"))
    with pytest.raises(UserError, match=r"no parameters 'embedding': did you mean 'embeddings'"):
        freeze_named(model, ["encoder", "embedding"])
    with pytest.raises(UserError, match=r"no parameters 'zzz': its parts are bert, cls"):
        freeze_named(model, ["zzz"])
