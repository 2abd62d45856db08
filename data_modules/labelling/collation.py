"""Batches of labelled texts, and which number of a model each label of the data is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from data_modules.objectives.objectives import Objective, Selector
from data_modules.storing.token_store import TokenStore
from lit_distill.batch import LabelledBatch, Reading, labelled_batch
from lit_distill.errors import UserError

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Labels(Objective):
    """The label of a text, from the whole of it; see `LabelledCorpus`."""

    masked: ClassVar[bool | None] = None
    reading: ClassVar[Reading | None] = Reading.LABELS

    def bind(self, tokenizer: Any, counts: NDArray[np.float64], seed: int) -> Selector:
        """Plain texts have no labels.

        Raises:
            UserError: always.
        """
        raise UserError(
            "Labels are the objective of a LabelledCorpus, which sets it itself: for texts use "
            "NextToken or MaskedTokens."
        )

    def validation(self, tokenizer: Any) -> Labels:
        """Validation reads the same labels."""
        return self


def label_numbers(found: Sequence[str], labels: Sequence[str]) -> Ints:
    """The model's number of every label of the data: by name, or else all of them by number.

    Args:
        found: what the data has.
        labels: names, in the model's order.

    Raises:
        UserError: the data has others.
    """
    if {*found} <= {*labels}:
        return np.array([labels.index(label) for label in found], dtype=np.int64)
    numbers = [str(number) for number in range(len(labels))]
    if {*found} <= {*numbers}:
        return np.array([int(label) for label in found], dtype=np.int64)
    unknown = sorted({*found} - {*labels} - {*numbers}) or sorted(found)
    raise UserError(
        f"The data has the labels {_some(unknown)}, which the model does not know: it has "
        f"{_some(labels)} (numbers 0 to {len(labels) - 1} in the data stand for these, if all are "
        "numbers). Correct id2label and label2id in the model's config.json, name the labels of a "
        "new head (PretrainedStudent.labels), or choose another column (label of the source)."
    )


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:8]) + (f", ... ({len(labels)} in all)" if len(labels) > 8 else "")


@dataclass(frozen=True)
class LabelCollator:
    """Makes batches of labelled texts.

    Args:
        store: where windows come from.
        targets: (W,) the label of every window, by its number in the model.
        firsts: (W,) tokens before the second text of every window.
        pairs: whether any window has a second text that the tokenizer tells apart.
        pad_id: token at padded positions, on the right.
    """

    store: TokenStore
    targets: Ints
    firsts: Ints
    pairs: bool
    pad_id: int

    def __call__(self, windows: Ints, passes: Ints) -> LabelledBatch:
        """The batch of these windows (B,); every pass over the corpus reads the same."""
        del passes
        lengths = self.store.lengths[windows].astype(np.int64)
        column = np.arange(int(lengths.max()))
        mask = column < lengths[:, None]
        ids = np.full(mask.shape, self.pad_id, dtype=np.int64)
        ids[mask] = self.store.gather(windows)
        types = mask & (column >= self.firsts[windows][:, None]) if self.pairs else None
        batch = labelled_batch(
            torch.from_numpy(ids),
            torch.from_numpy(mask.astype(np.int64)),
            torch.from_numpy(self.targets[windows]),
            self.store.language[windows].tolist(),
            None if types is None else torch.from_numpy(types.astype(np.int64)),
        )
        batch["sample_id"] = torch.from_numpy(windows.astype(np.int64))
        return batch
