"""Changes to a student's modules that training needs and that its export undoes.

A checkpoint writes a surgery down as `{class_path, init_args}` of plain values. What reads it back
imports nothing that a file names: it looks among the classes that this process has imported, which
are ours and those of modules that the command line permits (`--allow-module`).
"""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch

from lit_distill.errors import UserError
from lit_distill.models.body.language_model import LanguageModel

_PACKAGE = "lit_distill.models"  # where ours are found, whatever file they lie in


class Surgery(ABC):
    """A change to a student's modules: made before it trains, undone in what is exported.

    A subclass is a frozen dataclass whose fields are plain JSON values.
    """

    @abstractmethod
    def add(self, model: LanguageModel) -> None:
        """Changes a built student in place: before it trains, and before saved weights are loaded.

        Args:
            model: float32, on the CPU, not yet sharded. Random numbers come from torch's generator;
                parameters that are not to train are frozen (`requires_grad_(False)`).

        Raises:
            UserError: the model cannot be changed in this way.
        """

    @abstractmethod
    def merge(self, model: LanguageModel) -> None:
        """Undoes `add` and keeps what was learnt: a plain model of its architecture is left.

        Args:
            model: a copy of the trained student, on the CPU, whole. Its config may change.
        """

    def write(self, model: LanguageModel, folder: Path) -> None:
        """Writes what an export holds beside the merged weights; by default nothing.

        Args:
            model: as for `merge`, which follows.
            folder: of the export; it need not exist yet.
        """
        del model, folder


def operate(model: LanguageModel, surgeries: Iterable[Surgery]) -> None:
    """Makes surgeries on a student, in order, and notes them in `LanguageModel.surgeries`.

    Raises:
        UserError: one cannot be made, or could not be written into a checkpoint.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)  # as the student is, whatever the trainer's precision
    try:
        for surgery in surgeries:
            description = describe(surgery)
            surgery.add(model)
            model.surgeries.append(description)
    finally:
        torch.set_default_dtype(before)


def undo(model: LanguageModel, folder: Path) -> None:
    """Undoes the surgeries of a trained student, the last one first.

    Args:
        model: changed: a plain model is left.
        folder: of the export, for what they write beside it.
    """
    while model.surgeries:
        surgery = surgery_from(model.surgeries[-1])
        surgery.write(model, folder)
        surgery.merge(model)
        model.surgeries.pop()


def describe(surgery: Surgery) -> dict[str, Any]:
    """A surgery as the plain values `{class_path, init_args}`.

    Raises:
        UserError: it is no dataclass, or a field holds what JSON cannot.
    """
    kind = type(surgery)
    try:
        init_args = json.loads(json.dumps(dataclasses.asdict(cast(Any, surgery))))
    except TypeError as error:
        raise UserError(
            f"A checkpoint cannot hold the surgery {kind.__name__} ({error}): make it a frozen "
            "dataclass of numbers, strings, lists and mappings."
        ) from error
    return {"class_path": class_path(kind), "init_args": init_args}


def class_path(kind: type[Surgery]) -> str:
    """The name by which a checkpoint knows a class of surgeries; ours may move between files."""
    ours = f"{kind.__module__}.".startswith(f"{_PACKAGE}.")
    return f"{_PACKAGE if ours else kind.__module__}.{kind.__qualname__}"


def surgery_from(description: Mapping[str, Any]) -> Surgery:
    """The surgery that a checkpoint describes.

    Raises:
        UserError: its class is not imported here, or refuses the values.
    """
    name, init_args = description["class_path"], description["init_args"]
    found = [kind for kind in _kinds(Surgery.__subclasses__()) if class_path(kind) == name]
    if not found:
        module = str(name).partition(".")[0]
        raise UserError(
            f"The student was changed by the surgery {name}, which is not at hand, so it can "
            f"neither go on nor be exported: permit its module (--allow-module {module}), which a "
            "checkpoint cannot do by itself."
        )
    try:
        return found[0](**init_args)
    except TypeError as error:
        raise UserError(
            f"The surgery {name} of the student does not take what was saved of it ({error}): use "
            "the version of its module that wrote the checkpoint."
        ) from error


def _kinds(kinds: Iterable[type[Surgery]]) -> Iterator[type[Surgery]]:
    """Classes of surgeries that are imported, and those made from them."""
    for kind in kinds:
        yield kind
        yield from _kinds(kind.__subclasses__())
