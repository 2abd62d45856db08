"""What became of every id of a vocabulary that was trimmed, as a file beside the tokenizer.

Shapes: V kept ids, W ids before.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from lit_distill.errors import UserError
from lit_distill.models.loading.tokenizers import backend_hash

FILE = "vocabulary_map.json"
DROPPED = -1
"""What `VocabularyMap.new_ids` gives for an id that is gone."""
_VERSION = 1
_Ids = TypeVar("_Ids", Tensor, np.ndarray)


@dataclass(frozen=True)
class VocabularyMap:
    """The old ids that a trimmed vocabulary keeps, in their order: a new id is a place among them.

    Attributes:
        kept: old ids (V,), each once and ascending.
        old_size: W, rows of the model before; more than tokens where its table was padded.
        old_tokenizer: sha256 over vocabulary and pipeline of the tokenizer before (`backend_hash`).
        new_tokenizer: of the trimmed one.

    Raises:
        UserError: the ids are none, out of order, repeated or out of range, or a hash is none.
    """

    kept: tuple[int, ...]
    old_size: int
    old_tokenizer: str
    new_tokenizer: str

    def __post_init__(self) -> None:
        check_kept(self.kept, self.old_size)
        for name in ("old_tokenizer", "new_tokenizer"):
            value = getattr(self, name)
            if not (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)):
                raise UserError(
                    f"A vocabulary map's {name} is {value!r}, and has to be a sha256 of 64 digits: "
                    "the file was changed; take it from the folder that trim-vocabulary wrote."
                )

    @classmethod
    def between(
        cls,
        kept: tuple[int, ...],
        old_size: int,
        old: PreTrainedTokenizerFast,
        new: PreTrainedTokenizerFast,
    ) -> VocabularyMap:
        """The map of a tokenizer `old` that was trimmed to `new`."""
        return cls(kept, old_size, backend_hash(old), backend_hash(new))

    @property
    def size(self) -> int:
        """V: how many ids there are after."""
        return len(self.kept)

    def new_ids(self, old_ids: _Ids) -> _Ids:
        """The new id of each old one, of the same shape and kind; `DROPPED` for one that is gone.

        Args:
            old_ids: whole numbers in [0, W).

        Raises:
            ValueError: an id is outside: labels to ignore have to be put aside before.
        """
        return _looked_up(self._new, old_ids, "old")

    def old_ids(self, new_ids: _Ids) -> _Ids:
        """The old id of each new one, of the same shape and kind.

        Args:
            new_ids: whole numbers in [0, V).

        Raises:
            ValueError: an id is outside.
        """
        return _looked_up(self._old, new_ids, "new")

    @cached_property
    def _old(self) -> np.ndarray:
        return np.array(self.kept, dtype=np.int64)

    @cached_property
    def _new(self) -> np.ndarray:
        table = np.full(self.old_size, DROPPED, dtype=np.int64)
        table[self._old] = np.arange(self.size)
        return table

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a folder has a map."""
        return (folder / FILE).is_file()

    def write(self, folder: Path) -> None:
        """Writes `vocabulary_map.json` into a folder."""
        text = json.dumps({"version": _VERSION, **asdict(self)})
        (folder / FILE).write_text(text + "\n", "utf-8")

    @classmethod
    def read(cls, folder: Path) -> VocabularyMap:
        """The map in a folder.

        Raises:
            UserError: there is none, or it is not what `write` wrote.
        """
        path = folder / FILE
        try:
            found = json.loads(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise UserError(
                f"{folder} has no {FILE}: give a folder that `trim-vocabulary` wrote."
            ) from error
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read: {error}.") from error
        names = {"version", *cls.__dataclass_fields__}
        if not isinstance(found, dict) or found.keys() != names or found["version"] != _VERSION:
            raise UserError(
                f"{path} is not of this version: it has to hold {', '.join(sorted(names))}, "
                f"version {_VERSION}. Trim the vocabulary again."
            )
        del found["version"]
        kept = found.pop("kept")
        try:
            return cls(tuple(kept) if isinstance(kept, list) else kept, **found)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error


def check_kept(kept: Any, size: Any) -> None:
    """Refuses ids that are no selection of a vocabulary.

    Args:
        kept: has to be a tuple of whole numbers, ascending, each once.
        size: ids there are.

    Raises:
        UserError: it is not.
    """
    remedy = "Take the ids from `closure`, or the file from the folder that trim-vocabulary wrote."
    whole = isinstance(kept, tuple) and all(type(number) is int for number in kept)
    if type(size) is not int or size < 1:
        raise UserError(f"A vocabulary had {size!r} rows: there has to be one at least. {remedy}")
    if not whole or not kept:
        raise UserError(f"The kept ids have to be whole numbers, and one at least. {remedy}")
    fallen = next(((one, other) for one, other in pairwise(kept) if other <= one), None)
    if fallen:
        raise UserError(
            f"The kept ids have to ascend, each once, and {fallen[1]} follows {fallen[0]}. {remedy}"
        )
    if kept[0] < 0 or kept[-1] >= size:
        outside = kept[0] if kept[0] < 0 else kept[-1]
        raise UserError(
            f"The kept id {outside} is out of range: the model had {size} rows. {remedy}"
        )


def _looked_up(table: np.ndarray, ids: _Ids, kind: str) -> _Ids:
    """Entries of a table at ids of any shape."""
    if ids.is_floating_point() if isinstance(ids, Tensor) else ids.dtype.kind not in "iu":
        raise ValueError(f"{kind} ids have to be whole numbers, and are {ids.dtype}.")
    outside = (ids < 0) | (ids >= len(table))
    if bool(outside.any()):
        raise ValueError(f"{int(outside.sum())} {kind} ids are outside of [0, {len(table)}).")
    if isinstance(ids, Tensor):
        return torch.from_numpy(table).to(ids.device)[ids.long()]
    found: np.ndarray = table[ids]
    return found
