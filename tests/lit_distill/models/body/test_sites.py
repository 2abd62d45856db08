"""Embeddings, hidden states and attention probabilities: those that Transformers gives out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models import Execution, LanguageModel, Site

# The compiler looks at `.grad` of what it traces.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


def precise(model: LanguageModel) -> float:
    """In float64 where the model can, with attention by its formula; how exact gradients are.

    Where padding sees nothing (sliding windows), Transformers' softmax in float32 makes NaN of it.
    """
    model.model.set_attn_implementation("eager")
    if getattr(model.config, "sliding_window", None):
        return 1e-4
    model.double()
    return 1e-12


def of_transformers(model: LanguageModel, batch: Batch) -> dict[Site, Tensor]:
    """What `output_hidden_states` and `output_attentions` give, by our names."""
    inputs = {key: value for key, value in batch.items() if key != "tokens"}  # type: ignore[misc]
    output = model.model(**inputs, output_hidden_states=True, output_attentions=True)
    sides = {False: ("decoder_hidden_states", "decoder_attentions")}
    if model.reads_pairs:
        sides[True] = ("encoder_hidden_states", "encoder_attentions")
    else:
        sides[False] = ("hidden_states", "attentions")
    found = {}
    for encoder, (states, attentions) in sides.items():
        first, *hidden = output[states]
        found[Site("embeddings", 0, encoder)] = first
        for number, value in enumerate(hidden[:-1]):  # the last one is behind the final norm
            found[Site("hidden", number, encoder)] = value
        for number, value in enumerate(output[attentions]):
            found[Site("attention", number, encoder)] = value
    return found


def trained(model: LanguageModel) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def test_they_are_those_of_transformers_with_their_gradients(
    model: LanguageModel, batch: Batch
) -> None:
    exact = precise(model)
    expected = of_transformers(model, batch)
    assert len(expected) == (8 if not model.reads_pairs else 14)
    captured = model.encode(batch, capture=list(expected)).captured
    assert list(captured) == list(expected)
    weights = {site: torch.rand_like(value) for site, value in expected.items()}

    def slopes(values: dict[Site, Tensor]) -> Any:
        parts = [(values[site] * weights[site]).sum() for site in weights]
        return torch.autograd.grad(torch.stack(parts).sum(), trained(model), allow_unused=True)

    for site, value in captured.items():
        torch.testing.assert_close(value, expected[site], rtol=0, atol=1e-12, msg=str(site))
    for ours, theirs in zip(slopes(captured), slopes(expected), strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=exact, atol=exact)


@torch.no_grad()
def test_probabilities_are_there_whatever_kernel_the_model_runs(
    model: LanguageModel, batch: Batch
) -> None:
    plain, before = model.encode(batch).hidden, model.config._attn_implementation
    site = Site("attention", 2)
    found = model.capture(batch, [site])[site]
    assert model.config._attn_implementation == before
    assert torch.equal(model.encode(batch).hidden, plain)
    real = batch["decoder_attention_mask" if model.reads_pairs else "attention_mask"].bool()
    assert found.shape == (3, 4, 9, 9)
    sums = found.sum(-1).transpose(1, 2)[real]
    torch.testing.assert_close(sums, torch.ones_like(sums))
    assert not found.masked_select(real[:, None, :, None] & ~real[:, None, None, :]).any()
    model.model.set_attn_implementation("eager")
    torch.testing.assert_close(model.capture(batch, [site])[site], found, rtol=0, atol=0)


@torch.no_grad()
def test_no_more_runs_than_the_sites_are_made_of(model: LanguageModel, batch: Batch) -> None:
    ran: list[int] = []
    for number, layer in enumerate(model.layers):
        for inner in layer.modules():
            inner.register_forward_hook(lambda *call, number=number: ran.append(number))
    expected = model.encode(batch, capture=[Site("embeddings"), Site("hidden", 1)]).captured
    ran.clear()
    found = model.capture(batch, [Site("embeddings")])
    assert torch.equal(found[Site("embeddings")], expected[Site("embeddings")])
    once = model.anatomy.layer_order is None  # ALBERT's layers may run again: all run
    if once and not model.reads_pairs:
        assert ran == [0]  # the layer's own call, and nothing in it
    ran.clear()
    found = model.capture(batch, [Site("hidden", 1), Site("query", 0)])
    assert list(found) == [Site("hidden", 1), Site("query", 0)]
    assert torch.equal(found[Site("hidden", 1)], expected[Site("hidden", 1)])
    assert set(ran) == ({0, 1} if once else {0, 1, 2, 3})


@pytest.mark.rotated(3)  # whole runs
def test_layers_that_are_run_again_or_compiled_give_the_same(
    make_model: Callable[..., Any], make_batch: Callable[..., Batch]
) -> None:
    model = LanguageModel(make_model("bert")).double()
    model.set_dropout(0.0)
    model.train()
    batch = make_batch(model)
    sites = [Site("embeddings"), Site("attention", 1), Site("hidden", 2)]
    model.model.set_attn_implementation("eager")

    def slopes() -> list[Any]:
        values = model.encode(batch, capture=sites).captured.values()
        loss = torch.stack([value.sin().sum() for value in values]).sum()
        return list(torch.autograd.grad(loss, trained(model), allow_unused=True))

    expected = slopes()
    torch._dynamo.reset()
    for execution in (Execution(gradient_checkpointing=True), Execution(compile="aot_eager")):
        execution.apply(model)
        for one, other in zip(slopes(), expected, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_layers_are_not_run_again_with_another_kernel(
    bert: LanguageModel, make_batch: Callable[..., Batch]
) -> None:
    """The backward pass would run them with what the model has, after the call."""
    batch, sites = make_batch(bert), [Site("attention", 1)]
    Execution(gradient_checkpointing=True).apply(bert)
    assert bert.capture(batch, sites)  # nothing is run again in eval mode
    bert.train()
    with pytest.raises(UserError, match=r"gradient_checkpointing to false"):
        bert.capture(batch, sites)
    with torch.no_grad():
        assert bert.capture(batch, sites)


def test_embeddings_are_what_the_first_layer_reads(
    bert: LanguageModel, make_batch: Callable[..., Batch]
) -> None:
    with pytest.raises(UserError, match=r"layer 0 reads, and layer 2.*or Site\('hidden', 1\)"):
        bert.capture(make_batch(bert), [Site("embeddings", 2)])


def test_packed_texts_attend_to_themselves(
    bert: LanguageModel, make_batch: Callable[..., Batch]
) -> None:
    batch = make_batch(bert, (9,), 9)
    batch["segments"] = torch.tensor([[1, 1, 1, 1, 2, 2, 2, 2, 2]])
    found = bert.capture(batch, [Site("attention", 3)])[Site("attention", 3)]
    other = batch["segments"].unsqueeze(2) != batch["segments"].unsqueeze(1)
    assert not found[other.unsqueeze(1).expand_as(found)].any()
    torch.testing.assert_close(found.sum(-1), torch.ones(1, 4, 9))
