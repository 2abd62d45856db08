"""A language model whose weights lie in pieces on several devices (FSDP2)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from lit_distill.errors import UserError
from lit_distill.models.language_model import LanguageModel

ENTRIES = ("run_body", "run_encoder", "with_head", "project")
"""The calls in which weights are whole; all others must go through one of them."""


def shard(model: LanguageModel, mesh: DeviceMesh) -> None:
    """Splits a model's weights over the ranks of a mesh, in place.

    Each layer is gathered when it runs. All that is outside the layers (embeddings, norms, head) is
    one group, gathered from the first call to the end of the backward pass: an embedding that the
    head is tied to collects the gradients of both uses before they are reduced.

    Args:
        model: whole, the same on every rank.
        mesh: of the strategy, with the dimensions "data_parallel" and "tensor_parallel".

    Raises:
        UserError: tensor parallelism is asked for.
    """
    if mesh["tensor_parallel"].size() != 1:
        raise UserError(
            f"The strategy's tensor_parallel_size is {mesh['tensor_parallel'].size()}; only 1 is "
            "supported. Set data_parallel_size to the number of all devices."
        )
    mesh = mesh["data_parallel"]
    # About results that are changed in place, which no caller of ours does.
    warnings.filterwarnings("ignore", r"FSDP2-wrapped module \(.*\) returned a view tensor")
    for layer in (*model.anatomy.encoder_layers(model.model), *model.layers):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)
    for name in ENTRIES:
        register_fsdp_forward_method(model, name)


@contextmanager
def gathered(model: LanguageModel) -> Iterator[None]:
    """Layers that ran once stay whole inside, so that ranks may go on for different times.

    Every rank must run the model at least once; all later forwards need no other rank. Costs the
    memory of the whole model. Does nothing to a model that is not sharded.
    """
    layers = (*model.anatomy.encoder_layers(model.model), *model.layers)
    pieces = [layer for layer in layers if isinstance(layer, FSDPModule)]
    for layer in pieces:
        layer.set_reshard_after_forward(False)
    try:
        yield
    finally:
        for layer in pieces:
            layer.set_reshard_after_forward(True)
            layer.reshard()


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict with whole tensors; every rank must call it."""
    state: dict[str, Tensor] = module.state_dict()
    return {
        name: value.full_tensor() if isinstance(value, DTensor) else value
        for name, value in state.items()
    }
