"""Batches of labelled texts, and which number of a model each label of the data is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from data_modules.labelling.noisy_reads import NoisyReads
from data_modules.labelling.stored import StoredLabels, StoredReads
from data_modules.objectives.objectives import Objective, Selector
from data_modules.storing.token_store import ranges
from data_modules.tasks.task import Ints, Task
from lit_distill.batch import LabelledBatch, Reading
from lit_distill.errors import UserError

Floats = NDArray[np.float64]
VIEW = "teacher_"
"""How the keys begin of what a teacher reads."""


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


_UNKNOWN = (
    "which the model does not know: it has {known} (numbers 0 to {last} in the data stand for "
    "these, if all are numbers). Correct id2label and label2id in the model's config.json, name "
    "the labels of a new head (PretrainedStudent.labels), or choose another column (label of the "
    "source)."
)


def label_numbers(found: Sequence[str], labels: Sequence[str], unknown: str = _UNKNOWN) -> Ints:
    """The model's number of every label of the data: by name, or else all of them by number.

    Args:
        found: what the data has.
        labels: names, in the model's order.
        unknown: what to say of others.

    Raises:
        UserError: the data has others.
    """
    if {*found} <= {*labels}:
        return np.array([labels.index(label) for label in found], dtype=np.int64)
    numbers = [str(number) for number in range(len(labels))]
    if {*found} <= {*numbers}:
        return np.array([int(label) for label in found], dtype=np.int64)
    others = sorted({*found} - {*labels} - {*numbers}) or sorted(found)
    told = unknown.format(known=some(labels), last=len(labels) - 1)
    raise UserError(f"The data has the labels {some(others)}, {told}")


def some(labels: Sequence[str]) -> str:
    """Labels for a message, the first ones of many."""
    return ", ".join(labels[:8]) + (f", ... ({len(labels)} in all)" if len(labels) > 8 else "")


@dataclass(frozen=True)
class Look:
    """How one model reads a text.

    Attributes:
        reads: what was stored of it.
        pad_id: token at padded positions, on the right.
        pairs: whether the tokenizer tells the texts of a pair apart.
    """

    reads: StoredReads
    pad_id: int
    pairs: bool


@dataclass(frozen=True)
class LabelCollator:
    """Makes batches of labelled texts.

    Args:
        labels: what is right, window by window.
        answers: of all windows; labels by their number in the model.
        task: what is asked.
        own: how those read who learn.
        teacher: how a teacher reads, which has a view of its own.
        noise: changes what those read who learn; None: nothing.
    """

    labels: StoredLabels
    answers: Floats
    task: Task
    own: Look
    teacher: Look | None = None
    noise: NoisyReads | None = None

    def __call__(self, windows: Ints, passes: Ints) -> LabelledBatch:
        """The batch of these windows (B,), each in its pass (B,) over the corpus.

        Without noise, every pass reads the same.
        """
        stored = self.own.reads.take(windows)
        reads = stored if self.noise is None else self.noise.take(windows, passes)
        answers = self.answers[ranges(self.labels.starts[windows], self.labels.counts[windows])]
        if self.noise is not None:  # which may move words from behind the end to before it
            reads = reads.with_rows(np.isin(reads.keys, stored.keys))
        teacher, at = None, np.empty(0, dtype=np.int64)
        if self.teacher is not None:
            teacher = self.teacher.reads.take(windows)
            reads = reads.with_rows(np.isin(reads.keys, teacher.keys))
            at = _places(reads.keys, teacher.keys)
        if self.task.by_word:
            answers = answers[_places(reads.keys, stored.keys)]
        keys, rows = reads.padded(self.own.pad_id, self.own.pairs)
        right = self.task.keys(reads.counts, answers)
        language = self.own.reads.store.language[windows].astype(np.int64)[reads.examples]
        counts = {"tokens": len(keys["tokens"]), "sequences": len(language), "rows": len(rows)}
        decisions = len(right["options"]) if "options" in right else len(rows)
        counts |= {"masked": 0, "decisions": decisions}
        batch: dict[str, Any] = {
            **keys,
            **right,
            "language": torch.from_numpy(language),
            "rows": torch.from_numpy(rows),
            "sample_id": torch.from_numpy(windows.astype(np.int64)[reads.examples]),
            "counts": counts,
        }
        if self.teacher is not None and teacher is not None:
            seen, places = teacher.padded(self.teacher.pad_id, self.teacher.pairs)
            batch |= {f"{VIEW}{name}": value for name, value in seen.items()}
            batch[f"{VIEW}rows"] = torch.from_numpy(places[at])
            counts[f"{VIEW}tokens"] = len(seen["tokens"])
        return cast(LabelledBatch, batch)


def _places(wanted: Ints, there: Ints) -> Ints:
    """Where each of several keys stands first among those that are there."""
    known, first = np.unique(there, return_index=True)
    found: Ints = first[np.searchsorted(known, wanted)]
    return found
