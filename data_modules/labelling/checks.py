"""Labels that cannot be learnt or measured, told before the first step."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from lightning.pytorch.utilities import rank_zero_warn

from data_modules.labelling.collation import label_numbers, some
from data_modules.labelling.stored import StoredLabels
from data_modules.storing.tokenising import Split
from data_modules.tasks.task import Task
from lit_distill.errors import UserError

_FEW = 8  # texts, of which each may have a label of its own
_TAGS = 200  # labels of words, more than any tag set has
_BEGINS = re.compile("[BIESLU]-(?=.)")


def labels_of(
    task: Task, splits: Mapping[Split, StoredLabels], named: Sequence[str] | None
) -> tuple[str, ...]:
    """All labels in order, checked.

    Args:
        task: one whose labels have names.
        splits: what the data has.
        named: all labels, as the user gave them; None: those of the data, sorted.

    Raises:
        UserError: there is one label, or one that nobody named; a label
            is measured and never trained on, or named and in no training row.
    """
    found = {split: own.occurring for split, own in splits.items()}
    there = sorted({*found["train"], *found["validation"], *found["test"]}, key=_order)
    labels = tuple(there) if named is None else tuple(named)
    numbers = dict(zip(there, label_numbers(there, labels, _NAMED).tolist(), strict=True))
    if not found["train"]:
        return labels
    trained = {_class(task, labels[numbers[label]]) for label in found["train"]}
    for split in ("validation", "test"):
        for label in found[split]:
            if _class(task, labels[numbers[label]]) not in trained:
                own = splits[split]
                raise UserError(
                    f"The label {label!r} of the {split} texts "
                    f"({own.places[own.names.index(label)]}) is in no training row: give "
                    "training rows of it, or leave it out of what is measured."
                )
    missing = [label for label in labels if _class(task, label) not in trained]
    if missing and task.by_word:
        rank_zero_warn(f"No training row has the labels {some(missing)}.")
    elif missing:
        raise UserError(
            f"data.init_args.labels names {some(missing)}, which no training row has: a class "
            "without examples is never learnt. Give rows of it, or leave it out."
        )
    if len(labels) < 2:
        raise UserError(f"All training rows have the label {labels[0]!r}: nothing can be learnt.")
    return labels


_NAMED = (
    "which data.init_args.labels does not name: it names {known}. Name all labels of the data, "
    "leave `labels` out, or choose another column (label of the source)."
)


def check_columns(task: Task, splits: Sequence[StoredLabels]) -> None:
    """Checks that labels are no texts: that not nearly every row has its own.

    Raises:
        UserError: they are.
    """
    labels = sum((Counter(own.occurring) for own in splits), Counter[str]())
    rows = labels.total()
    most = max(rows / 10, _TAGS) if task.by_word else max(rows / 2, _FEW)
    if len(labels) > most:
        first, names = max(labels, key=len), "tokens and tags" if task.by_word else "text and label"
        raise UserError(
            f"The data has {len(labels)} different labels of {rows} rows, such as {first[:60]!r}: "
            f"the columns of {names} seem to be swapped in the source."
        )


def _class(task: Task, label: str) -> str:
    """What a label names: of words, the entity, wherever in it a word stands."""
    return _BEGINS.sub("", label, count=1) if task.by_word else label


def _order(label: str) -> tuple[int, int, str]:
    """Names in their order, numbers in theirs before them."""
    number = label.isdecimal() and label.isascii()
    return (0, int(label), label) if number else (1, 0, label)
