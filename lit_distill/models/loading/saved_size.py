"""The size of a saved model: what its config says, before any weight is downloaded or read."""

from __future__ import annotations

from pathlib import Path

import torch

from lit_distill.models.architectures.table import anatomy_of_config
from lit_distill.models.loading.adapters import base_of, is_adapter
from lit_distill.models.loading.pretrained import Source, config_of, locate, text_part


def parameters_of(name: str, revision: str | None = None, ask_hub: bool = True) -> int:
    """How many numbers the weights and buffers of a model are; those that are tied count once.

    Args:
        name: local folder or hub name; the folder of an adapter stands for its model.
        revision: branch, tag or commit on the hub.
        ask_hub: False: what is neither a folder nor in the cache is not looked for.

    Raises:
        UserError: its config cannot be found or read, or is not supported.
    """
    folder = Path(name).expanduser()
    if is_adapter(folder):
        return parameters_of(*base_of(folder), ask_hub)
    known = folder.is_dir() or ask_hub
    source = locate(name, revision) if known else Source(name, revision, cached_only=True)
    values, _ = text_part(config_of(source))
    model_class = anatomy_of_config(values).model_class()
    with torch.device("meta"):  # shapes without memory
        model = model_class(model_class.config_class.from_dict(values))
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return sum(tensor.numel() for tensor in tensors.values())
