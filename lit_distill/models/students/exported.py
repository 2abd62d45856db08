"""Modules that belong to an exported student and not to its architecture: sentence projections.

An export holds them in `projections/`, as safetensors and a small JSON file that says how to build
each with plain torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lit_distill.errors import UserError

FOLDER, INDEX = "projections", "projections.json"


class Exported(nn.Sequential):
    """Modules called one after the other, such as a map from hidden states to an embedding.

    Args:
        modules: each with a `repr` that says how to build it, as those of torch have.
        reads: what it is called with, in words and with its shape, for who uses the export:
            "mean over a text's tokens of the last hidden states (B, D)".
    """

    def __init__(self, *modules: nn.Module, reads: str) -> None:
        super().__init__(*modules)
        self.reads = reads

    def description(self) -> dict[str, Any]:
        """What a checkpoint has to know beside the weights: the input, and the modules."""
        return {"reads": self.reads, "modules": [repr(module) for module in self]}


def check_exported(modules: nn.ModuleDict, students: nn.ModuleDict) -> None:
    """Checks that an export can hold what a method wants in it.

    Raises:
        UserError: a module does not say what it reads, or there are several students.
    """
    for name, module in modules.items():
        if not isinstance(module, Exported):
            raise UserError(
                f"exported.{name} is a {type(module).__name__}, which does not say what it reads: "
                "make it an `Exported` (lit_distill.models)."
            )
    if modules and len(students) > 1:
        raise UserError(
            f"exported.{next(iter(modules))} belongs to one student, and {', '.join(students)} are "
            "trained: use `auxiliary`, which is not exported."
        )


def write_exported(
    folder: Path,
    descriptions: Mapping[str, Mapping[str, Any]],
    weights: Mapping[str, Tensor],
    dtype: torch.dtype,
) -> None:
    """Writes `projections/` into the folder of an export; nothing where there are none.

    Args:
        folder: of the student.
        descriptions: `Exported.description` of each by name.
        weights: the state dict of them all, whole.
        dtype: of the written weights; whole numbers stay as they are.
    """
    if not descriptions:
        return
    index, place = {}, folder / FOLDER
    place.mkdir(parents=True)
    for name, description in descriptions.items():
        own = {
            key.removeprefix(f"{name}."): value.to(dtype) if value.is_floating_point() else value
            for key, value in weights.items()
            if key.startswith(f"{name}.")
        }
        save_file({k: v.contiguous() for k, v in own.items()}, place / f"{name}.safetensors")
        shapes = {
            key: {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
            for key, value in own.items()
        }
        index[name] = {**description, "weights": shapes}
    (place / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
