"""Tensors inside of a layer that come out of a forward beside its result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from torch import Tensor, nn

from lit_distill.models.architectures.anatomy import Anatomy, Projection
from lit_distill.models.body.encoded import Site


@contextmanager
def handed_out(
    anatomy: Anatomy,
    layer: nn.Module,
    modules: Sequence[nn.Module],
    sites: Sequence[Site],
    captured: dict[Site, Tensor],
) -> Iterator[None]:
    """Makes projections outputs of their layer, for one forward that fills `captured`.

    A sharded layer gathers its weights again when gradients of its outputs arrive: those of a
    tensor that it does not hand out would find the weights gone.

    Args:
        anatomy: of the model.
        layer: not compiled.
        modules: that make the projections, one for each site.
        sites: of this layer.
        captured: gets the projections by site.
    """
    made: dict[Site, Tensor] = {}
    whole: Any = layer
    inner = whole.forward

    def note(site: Site) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            del module, args
            made[site] = anatomy.projected(output, cast(Projection, site.kind))

        return hook

    def forward(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        output = inner(*args, **kwargs)
        return output, *(made[site] for site in sites)

    def keep(module: nn.Module, args: tuple[Any, ...], output: tuple[Any, ...]) -> Any:
        del module, args
        captured.update(zip(sites, output[1:], strict=True))
        return output[0]

    pairs = zip(modules, sites, strict=True)
    handles = [module.register_forward_hook(note(site)) for module, site in pairs]
    handles.append(layer.register_forward_hook(keep))  # behind those that look at all outputs
    whole.forward = forward  # of this object; its class keeps its own
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        del whole.forward


@contextmanager
def uncompiled(layer: nn.Module) -> Iterator[None]:
    """Takes back `compile_layers` for a while."""
    compiled = vars(layer).pop("forward", None)
    try:
        yield
    finally:
        if compiled is not None:
            layer.forward = compiled
