"""Gradient checkpointing and compilation: another way to the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models import Execution, LanguageModel, Site

# The compiler looks at `.grad` of what it traces.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
SITES = (Site("query", 1), Site("hidden", 2))


def values_and_gradients(model: LanguageModel, batch: Batch) -> list[Tensor]:
    """Of the last states and of captures from within and around layers."""
    encoded = model.encode(batch, capture=SITES)
    values = [encoded.hidden, *encoded.captured.values()]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    loss = torch.stack([value.sin().sum() for value in values]).sum()
    gradients = torch.autograd.grad(loss, trained, allow_unused=True)
    return values + [gradient for gradient in gradients if gradient is not None]


@pytest.fixture(autouse=True)
def nothing_compiled() -> None:
    """Compiled versions belong to a class's code, and after a few the compiler gives up."""
    torch._dynamo.reset()


def ready(model: LanguageModel) -> float:
    """In train mode, without dropout, in float64 where the model can; how exact sums are then."""
    model.train()
    model.set_dropout(0.0)
    if model.config.model_type == "gemma2":  # its own attention takes softmaxes in float32
        return 1e-4
    model.double()
    return 1e-12


def test_layers_run_again_give_the_same(model: LanguageModel, batch: Batch) -> None:
    if not model.model.supports_gradient_checkpointing:
        pytest.skip("ALBERT has no gradient checkpointing.")
    within = ready(model)
    plain = values_and_gradients(model, batch)
    Execution(gradient_checkpointing=True).apply(model)
    assert model.model.is_activation_checkpointing
    again = values_and_gradients(model, batch)
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(one, other, rtol=within, atol=within)


@pytest.mark.parametrize(
    ("family", "backend", "checkpointing"),
    [("bert", "aot_eager", True), ("gpt2", "eager", False), ("qwen3", "eager", True)],
)
def test_compiled_layers_give_the_same(
    family: str,
    backend: str,
    checkpointing: bool,
    make_model: Callable[..., Any],
    make_batch: Callable[..., Batch],
) -> None:
    model = LanguageModel(make_model(family))
    within = ready(model)
    batches = [make_batch(model), make_batch(model, width=11)]
    plain = [values_and_gradients(model, batch) for batch in batches]
    state = model.state_dict().keys()
    Execution(checkpointing, compile=backend).apply(model)
    assert model.state_dict().keys() == state
    for batch, expected in zip(batches, plain, strict=True):
        compiled = values_and_gradients(model, batch)
        for one, other in zip(expected, compiled, strict=True):
            torch.testing.assert_close(one, other, rtol=within, atol=within)


def test_layers_are_really_compiled(
    make_model: Callable[..., Any], make_batch: Callable[..., Batch]
) -> None:
    """All but the one whose projections are captured, and this one again afterwards."""
    from torch._dynamo.testing import CompileCounter

    model = LanguageModel(make_model("bert"))
    counter = CompileCounter()
    model.compile_layers(counter)
    compiled = [vars(layer)["forward"] for layer in model.layers]
    seen: list[bool] = []
    handle = model.layers[1].register_forward_pre_hook(
        lambda layer, _: seen.append(vars(layer)["forward"] in compiled)
    )
    model.encode(make_batch(model), capture=[Site("query", 1)])
    model.encode(make_batch(model))
    model.encode(make_batch(model, lengths=(4, 3, 2, 2), width=5))
    handle.remove()
    assert seen == [False, True, True]
    assert [vars(layer)["forward"] for layer in model.layers] == compiled
    assert counter.frame_count == 1  # for all layers and lengths


def test_teachers_keep_no_activations_anyway(bert: LanguageModel) -> None:
    Execution(gradient_checkpointing=True).apply(bert.requires_grad_(False))
    assert not bert.model.is_activation_checkpointing


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(UserError, match=r"no backend 'inducter' here; did you mean 'inductor'\?"):
        Execution(compile="inducter")


def test_a_model_that_cannot_is_refused(bert: LanguageModel) -> None:
    class NoTargets(type(bert.model)):  # type: ignore[misc]
        supports_gradient_checkpointing = False

    bert.model.__class__ = NoTargets
    with pytest.raises(UserError, match="NoTargets has no gradient checkpointing"):
        Execution(gradient_checkpointing=True).apply(bert)
    assert isinstance(bert.model, nn.Module)


def test_attention_by_the_formula_gives_the_same(bert: LanguageModel, batch: Batch) -> None:
    within = ready(bert)
    plain = values_and_gradients(bert, batch)
    before = bert.config._attn_implementation
    Execution(attention="eager").apply(bert)
    assert (before, bert.config._attn_implementation) == ("sdpa", "eager")
    for one, other in zip(plain, values_and_gradients(bert, batch), strict=True):
        torch.testing.assert_close(one, other, rtol=within, atol=within)


@pytest.mark.parametrize("name", ["flash_attention_2", "eagre"])
def test_attention_that_there_is_not_is_refused(bert: LanguageModel, name: str) -> None:
    with pytest.raises(UserError, match=rf"cannot attend by '{name}' here: .* Set model.execution"):
        Execution(attention=name).apply(bert)
    assert bert.config._attn_implementation == "sdpa"
