"""One forward of a body that stops where no more is wanted, and hands out tensors from inside.

Forward hooks of modules see a tensor that is nobody's result; what makes it one, and what leaves
out the rest of a layer, is a `forward` of that layer's own for the time of the call. Every forward
that has begun ends normally, which sharded and checkpointed layers count on: no exception stops it.

Shapes: B sequences, T positions, D hidden size, H attention heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PretrainedConfig, PreTrainedModel

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Anatomy
from lit_distill.models.body.encoded import Site

Captured = dict[Site, Tensor]


@contextmanager
def captures(
    model: PreTrainedModel,
    anatomy: Anatomy,
    sites: Sequence[Site],
    last: int,
    whole: bool = True,
) -> Iterator[Captured]:
    """Makes the next forward fill the dictionary with the tensors at sites, and run no more.

    Args:
        model: whose forward; as it was afterwards, also after an exception.
        anatomy: of it.
        sites: what is kept; all of them in layers that run.
        last: number of the last layer that runs; of an encoder-decoder, of its decoder.
        whole: False: that layer runs what its sites need and nothing else, and gives its input.
    """
    found, inside = Captured(), dict[nn.Module, list[_Inner]]()
    layers = anatomy.layers(model)
    whole = whole or anatomy.layer_order is not None  # one that runs again may be needed above
    if not whole:
        inside[layers[last]] = []
    around: list[tuple[nn.Module, Site]] = []
    for site in sites:
        layer, inner = _layers(model, anatomy, site)[site.layer], _inner(anatomy, site)
        if inner is not None:
            inner = inner._replace(turn=_turn(model, anatomy, site))
        if inner is None:
            around.append((layer, site))
        else:
            inside.setdefault(layer, []).append(inner)
    with ExitStack() as stack:
        for layer, own in inside.items():
            leave_out = not whole and layer is layers[last]
            stack.enter_context(_handed_out(anatomy, layer, own, found, leave_out))
        for layer, site in around:  # behind the hooks that take apart what a layer hands out
            turn = _turn(model, anatomy, site)
            stack.callback(_watched(layer, site, found, turn).remove)
        if last < len(layers) - 1 and anatomy.layer_order is None:
            stack.enter_context(_first_layers(model, anatomy, last + 1))
        yield found


@contextmanager
def uncompiled(layer: nn.Module) -> Iterator[None]:
    """Takes back `LanguageModel.compile_layers` for a while."""
    compiled = vars(layer).pop("forward", None)
    try:
        yield
    finally:
        vars(layer).pop("forward", None)
        if compiled is not None:
            vars(layer)["forward"] = compiled


@contextmanager
def eager_attention(model: PreTrainedModel) -> Iterator[None]:
    """Runs attention by its formula: the fused kernels never hold its probabilities.

    Masks are made for the whole model, so that all layers change for the time of the call.

    Raises:
        UserError: gradient checkpointing would run layers again as they are after the call.
    """
    configs = {id(m.config): m.config for m in model.modules() if isinstance(m, PreTrainedModel)}
    before: list[tuple[PretrainedConfig, str]] = [
        (config, config._attn_implementation) for config in configs.values()
    ]
    again = model.is_activation_checkpointing and model.training and torch.is_grad_enabled()
    if again and any(implementation != "eager" for _, implementation in before):
        raise UserError(
            f"Attention probabilities of {type(model).__name__} cannot be captured under gradient "
            f"checkpointing: the backward pass would run its layers again with {before[0][1]}, "
            "which has none. Set model.execution.gradient_checkpointing to false."
        )
    for config, _ in before:
        config._attn_implementation = "eager"
    try:
        yield
    finally:
        for config, implementation in before:
            config._attn_implementation = implementation


class _Inner(NamedTuple):
    """A site inside of a layer: the module there whose output holds the tensor, and where in it.

    `turn` is which of the layer's runs in one forward it is; None: it has one.
    """

    site: Site
    path: str
    value: Callable[[Any], Tensor]
    turn: int | None = None


def _inner(anatomy: Anatomy, site: Site) -> _Inner | None:
    """None for what is a layer's own input or output."""
    kind = site.kind
    if kind == "embeddings" or kind == "hidden":
        return None
    if kind == "attention":
        return _Inner(site, anatomy.attention_path, itemgetter(-1))
    path = anatomy.projection_paths[kind]
    return _Inner(site, path, lambda output: anatomy.projected(output, kind))


@contextmanager
def _handed_out(
    anatomy: Anatomy, layer: nn.Module, sites: Sequence[_Inner], found: Captured, leave_out: bool
) -> Iterator[None]:
    """Makes tensors inside of a layer outputs of it, and takes them off again.

    A sharded layer gathers its weights again when gradients of its outputs arrive: those of a
    tensor that it does not hand out would find the weights gone. The layer is not compiled
    meanwhile: compiled code does not call hooks that come and go.
    """
    # each module once: one may make all three projections
    modules = {inner.path: layer.get_submodule(inner.path) for inner in sites}
    made: dict[str, Any] = {}
    runs = count()

    def note(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            del module, args
            made[path] = output

        return hook

    def forward(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        if leave_out:  # masks and positions are for the attention that does not run
            output = read = args[0]
            if modules and anatomy.norm_path is not None:
                read = layer.get_submodule(anatomy.norm_path)(read)
            made.update((path, module(read)) for path, module in modules.items())
        else:
            output = own_forward(*args, **kwargs)
        return output, *(inner.value(made[inner.path]) for inner in sites)

    def take_off(module: nn.Module, args: tuple[Any, ...], output: tuple[Any, ...]) -> Any:
        del module, args
        run = next(runs)
        for inner, value in zip(sites, output[1:], strict=True):
            if inner.turn is None or inner.turn == run:
                found[inner.site] = value
        return output[0]

    with uncompiled(layer), ExitStack() as stack:
        own_forward = layer.forward
        for path, module in () if leave_out else modules.items():
            stack.callback(module.register_forward_hook(note(path)).remove)
        # behind the hooks that look at all outputs
        stack.callback(layer.register_forward_hook(take_off).remove)
        vars(layer)["forward"] = forward  # of this object; its class keeps its own
        yield


def _watched(layer: nn.Module, site: Site, found: Captured, turn: int | None) -> RemovableHandle:
    """Keeps what a layer reads or gives, of several runs in one of them."""
    runs = count()

    def keep_input(module: nn.Module, args: tuple[Any, ...]) -> None:
        del module
        if turn is None or turn == next(runs):
            found[site] = args[0]

    def keep_output(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        del module, args
        if turn is not None and turn != next(runs):
            return
        found[site] = output[0] if isinstance(output, tuple) else output  # T5's give several

    if site.kind == "hidden":
        return layer.register_forward_hook(keep_output)
    # before sharding marks where the layer's own backward ends
    return layer.register_forward_pre_hook(keep_input, prepend=True)


@contextmanager
def _first_layers(model: PreTrainedModel, anatomy: Anatomy, count: int) -> Iterator[None]:
    """Leaves the first `count` layers in place for one forward."""
    path, _, name = anatomy.layers_path.rpartition(".")
    owner, layers = model.get_submodule(path), anatomy.layers(model)
    setattr(owner, name, layers[:count])
    try:
        yield
    finally:
        setattr(owner, name, layers)


def check_sites(model: PreTrainedModel, anatomy: Anatomy, sites: Sequence[Site], last: int) -> None:
    """Checks that sites lie in layers that run.

    Raises:
        UserError: one does not; or there is no layer `last`.
    """
    kind, count = type(model).__name__, len(anatomy.layers(model))
    if not 0 <= last < count:
        raise UserError(f"last_layer={last}: {kind} has {count} layers, numbered 0 to {count - 1}.")
    for site in sites:
        of = len(_layers(model, anatomy, site))
        end = of - 1 if site.encoder else last
        if not 0 <= site.layer <= end:
            raise UserError(
                f"{site.kind} of layer {site.layer} cannot be captured: {kind} runs layers 0 to "
                f"{end} of {of} here."
            )
        if site.kind == "embeddings" and site.layer:
            raise UserError(
                f"The embeddings are what layer 0 reads, and layer {site.layer} is asked for: use "
                f"Site('embeddings', 0), or Site('hidden', {site.layer - 1})."
            )


def check_gradients(model: PreTrainedModel, anatomy: Anatomy, captured: Captured) -> None:
    """Checks that captures have the gradients that their own weights ask for.

    Raises:
        UserError: reentrant checkpointing ran their layer without a graph.
    """
    for site, value in captured.items() if torch.is_grad_enabled() else ():
        if value.requires_grad:
            continue
        made_by = _layers(model, anatomy, site)[site.layer]
        if site.kind == "embeddings":
            made_by = anatomy.embeddings(model)
        elif inner := _inner(anatomy, site):
            made_by = made_by.get_submodule(inner.path)
        if any(parameter.requires_grad for parameter in made_by.parameters()):
            raise UserError(
                f"{site.kind} of layer {site.layer} has no gradient under reentrant gradient "
                "checkpointing: enable it with use_reentrant=False (the default)."
            )


def _turn(model: PreTrainedModel, anatomy: Anatomy, site: Site) -> int | None:
    """How often a site's layer has run before, in one forward; None: no layer runs twice."""
    if anatomy.layer_order is None:
        return None
    order = anatomy.layer_order(model.config)
    return order[: site.layer].count(order[site.layer])


def _layers(model: PreTrainedModel, anatomy: Anatomy, site: Site) -> nn.ModuleList:
    """The stack of layers that a site lies in."""
    return anatomy.encoder_layers(model) if site.encoder else anatomy.layers(model)
