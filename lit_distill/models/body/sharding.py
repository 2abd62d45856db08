"""Models and modules whose weights lie in pieces on several devices (FSDP2)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from lit_distill.errors import UserError
from lit_distill.models.body.language_model import LanguageModel


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
    mesh = _data_parallel(mesh)
    # About results that are changed in place, which no caller of ours does.
    warnings.filterwarnings("ignore", r"FSDP2-wrapped module \(.*\) returned a view tensor")
    alone = () if model.anatomy.layer_order else model.layers  # what runs often stays gathered
    for layer in (*model.anatomy.encoder_layers(model.model), *alone):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)


def _data_parallel(mesh: DeviceMesh) -> DeviceMesh:
    if mesh["tensor_parallel"].size() != 1:
        raise UserError(
            f"The strategy's tensor_parallel_size is {mesh['tensor_parallel'].size()}; only 1 is "
            "supported. Set data_parallel_size to the number of all devices."
        )
    return mesh["data_parallel"]


def shard_auxiliary(modules: Mapping[str, nn.Module], mesh: DeviceMesh) -> None:
    """Splits what a method trains beside its students over the ranks of a mesh, in place.

    Each module is gathered when it is called, and its gradients are reduced; of containers without
    a call of their own (`ModuleList`), each part by itself.

    Args:
        modules: by name ("auxiliary.critic"); the same on every rank, and only ever called
            (`module(...)`).
        mesh: see `shard`.

    Raises:
        UserError: a module has parameters that no call of it reads, or one without dimensions.
    """
    _shard_parts(modules, _data_parallel(mesh))


def _shard_parts(modules: Mapping[str, nn.Module], mesh: DeviceMesh) -> None:
    for name, module in modules.items():
        for part, parameter in module.named_parameters():
            if parameter.ndim == 0:
                raise UserError(
                    f"{name}.{part} is a single number without dimensions, which FSDP2 "
                    "cannot split: give it the shape (1,)."
                )
        if type(module).forward is not nn.Module.forward:
            fully_shard(module, mesh=mesh)
            continue
        if next(module.parameters(recurse=False), None) is not None:
            raise UserError(
                f"{name} is a {type(module).__name__}, which cannot be called, and FSDP2 "
                "makes weights whole only inside a call: put its parameters into a module whose "
                "forward reads them."
            )
        children = {f"{name}.{child}": part for child, part in module.named_children()}
        _shard_parts(children, mesh)


def broadcast_buffers(module: nn.Module) -> None:
    """Gives every rank the first one's buffers (running means), as DDP does; in place."""
    for buffer in module.buffers():
        distributed.broadcast(buffer, 0)


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


def full_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """The state dict with whole tensors; every rank must call it."""
    state: dict[str, Tensor] = module.state_dict()
    return {
        name: value.full_tensor() if isinstance(value, DTensor) else value
        for name, value in state.items()
    }
