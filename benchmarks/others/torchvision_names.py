"""Lets torchvision be imported beside a PyTorch that it was not built for.

PyPI's torchvision is built for CUDA, and torchdistill asks for it. Beside a CPU build of PyTorch it
lacks its operators, and then its import fails, and with it those of torchdistill, of torchmetrics,
which lightning reads, and of all of transformers that knows about images, which trl reads. Nothing
measured here calls an operator of it, so that their names are enough.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

import torch

SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
MISSING = ("nms", "qnms")


def complete_torchvision() -> None:
    """Defines what is missing where torchvision is installed and cannot be imported."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in MISSING:
            library.define(name + SIGNATURE)  # type: ignore[no-untyped-call]
        KEPT.append(library)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        importlib.import_module("torchvision")


KEPT: list[torch.library.Library] = []
"""Definitions go with their library."""
