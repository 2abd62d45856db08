"""Queries, keys and values of a layer whose rest does not run; what they can train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models import (
    ANATOMIES,
    LanguageModel,
    Projection,
    Site,
    attention_heads,
    check_layer,
    freeze_without_gradient,
    probe,
    projections,
)

KINDS: list[Projection] = ["query", "key", "value"]


@pytest.fixture(
    params=[
        a.model_type
        for a in ANATOMIES
        if a.has_head and a.encoder_layers_path is None and not a.has_task
    ]
)
def family(request: pytest.FixtureRequest) -> str:
    """All but encoder-decoders, which are refused."""
    return str(request.param)


def full(model: LanguageModel, batch: Batch, layer: int) -> dict[Projection, torch.Tensor]:
    """The same out of a forward of the whole model."""
    sites = {kind: Site(kind, layer) for kind in KINDS}
    captured = model.encode(batch, capture=list(sites.values())).captured
    return {kind: captured[site] for kind, site in sites.items()}


@torch.no_grad()
def test_they_are_those_of_a_whole_forward(model: LanguageModel, batch: Batch) -> None:
    for layer in (0, 2, 3):
        expected, found = full(model, batch, layer), projections(model, batch, layer, KINDS)
        assert list(found) == KINDS
        assert all(torch.equal(found[kind], expected[kind]) for kind in KINDS)
    assert list(projections(model, batch, 1, ["value"])) == ["value"]


def test_nothing_else_of_the_layer_runs_and_nothing_above(
    model: LanguageModel, batch: Batch
) -> None:
    if model.anatomy.layer_order is not None:
        pytest.skip("ALBERT's layers may run again: all run.")
    ran: list[str] = []
    for name, module in model.model.named_modules():
        if name.startswith(f"{model.anatomy.layers_path}."):
            module.register_forward_hook(lambda *call, name=name: ran.append(name))
    projections(model, batch, 2, KINDS)
    layer = f"{model.anatomy.layers_path}.2"
    above = {name for name in ran if name.startswith(f"{model.anatomy.layers_path}.3")}
    inside = {name.removeprefix(f"{layer}.") for name in ran if name.startswith(f"{layer}.")}
    norm = {model.anatomy.norm_path} - {None}
    assert above == set()
    assert inside == {*model.anatomy.projection_paths.values(), *norm}
    assert ran.count(f"{model.anatomy.layers_path}.1") == 1


def test_the_model_is_as_before_also_after_an_exception(model: LanguageModel, batch: Batch) -> None:
    before, names = model.encode(batch).hidden, list(model.state_dict())
    projections(model, batch, 3, KINDS)
    broken: Any = {**batch, "input_ids": batch["input_ids"] + 1000}
    with pytest.raises(IndexError):
        projections(model, broken, 3, KINDS)
    assert "forward" not in vars(model.layers[3])
    assert not model.layers[3]._forward_hooks
    assert list(model.state_dict()) == names
    assert torch.equal(model.encode(batch).hidden, before)


def test_gradients_are_those_of_a_whole_forward(model: LanguageModel, batch: Batch) -> None:
    exact = 1e-4  # gemma2's own attention takes softmaxes in float32
    if model.config.model_type != "gemma2":
        model.double()
        exact = 1e-12
    model.set_dropout(0.0)
    model.train()
    trained = list(model.parameters())

    def slopes(found: dict[Projection, torch.Tensor]) -> list[Any]:
        loss = torch.stack([value.sin().sum() for value in found.values()]).sum()
        return list(torch.autograd.grad(loss, trained, allow_unused=True))

    expected = slopes(full(model, batch, 2))
    for checkpointing in (False, True):
        if checkpointing and model.model.supports_gradient_checkpointing:
            model.model.activation_checkpointing_enable()
        found = slopes(projections(model, batch, 2, KINDS))
        for one, other in zip(found, expected, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other, rtol=0, atol=exact)


def test_exactly_what_a_loss_reaches_stays_trainable(model: LanguageModel, batch: Batch) -> None:
    """Gradients exist on embeddings, lower layers and the layer's norm and projections."""
    frozen = freeze_without_gradient(model, probe(model, 2, KINDS).values())
    loss = torch.stack([p.sin().sum() for p in projections(model, batch, 2, KINDS).values()]).sum()
    loss.backward()
    named = dict(model.model.named_parameters())
    assert {name for name, p in named.items() if p.grad is None} == set(frozen)
    assert frozen == [name for name, p in named.items() if not p.requires_grad]
    if model.anatomy.layer_order is not None:  # a group that is reached is reached whole
        return
    layers = model.anatomy.layers_path
    own = tuple(
        f"{layers}.2.{path}."
        for path in (*model.anatomy.projection_paths.values(), model.anatomy.norm_path)
    )
    for name in named:
        number = name.removeprefix(f"{layers}.").partition(".")[0]
        if name.startswith(model.anatomy.embeddings_path) or number in ("0", "1"):
            assert name not in frozen
        elif number in ("2", "3"):
            assert (name in frozen) != name.startswith(own)


def test_a_kind_that_is_not_read_is_not_trained(bert: LanguageModel) -> None:
    frozen = freeze_without_gradient(bert, probe(bert, 3, ["value"]).values())
    assert "bert.encoder.layer.3.attention.self.query.weight" in frozen
    assert "bert.encoder.layer.3.attention.self.value.weight" not in frozen


def test_heads_and_widths_are_known_before_a_run(model: LanguageModel, batch: Batch) -> None:
    found, probed = projections(model, batch, 3, KINDS), probe(model, 3, KINDS)
    assert all(probed[kind].shape == (1, 2, found[kind].shape[-1]) for kind in KINDS)
    heads = attention_heads(model)
    widths = {found[kind].shape[-1] // heads[kind] for kind in KINDS}
    assert len(widths) == 1  # of one head
    assert heads["query"] == 4
    assert heads["key"] == heads["value"] == (4 if found["key"].shape[-1] == 16 else 2) or (
        model.config.model_type.startswith("gemma")
    )


def test_layers_are_numbered_from_one_and_must_exist(
    bert: LanguageModel, make_model: Callable[..., Any]
) -> None:
    assert [check_layer(bert, number, "teacher_layer") for number in (1, 4, None)] == [0, 3, 3]
    with pytest.raises(UserError, match=r"teacher_layer=5 .*has 4 layers, numbered 1 to 4"):
        check_layer(bert, 5, "teacher_layer")
    with pytest.raises(UserError, match=r"teacher_layer=0 "):
        check_layer(bert, 0, "teacher_layer")
    for family in ("t5", "bart"):
        with pytest.raises(UserError, match=r"source and a target.*use an encoder"):
            check_layer(LanguageModel(make_model(family)), None, "teacher_layer")
