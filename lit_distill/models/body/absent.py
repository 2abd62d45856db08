"""Modules that a model's class makes and the model itself has not, such as a pooler."""

from __future__ import annotations

from collections.abc import Iterable

from transformers import PreTrainedModel

from lit_distill.models.architectures.anatomy import Anatomy


def absent(model: PreTrainedModel, anatomy: Anatomy) -> list[str]:
    """The optional modules that a model has not."""
    return [path for path in anatomy.optional if path not in dict(model.named_modules())]


def leave_out(model: PreTrainedModel, paths: Iterable[str]) -> None:
    """Takes optional modules out of a model: neither run nor saved."""
    for path in paths:
        owner, _, name = path.rpartition(".")
        setattr(model.get_submodule(owner), name, None)
