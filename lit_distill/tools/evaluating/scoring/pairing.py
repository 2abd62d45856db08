"""Predictions of several models about the same examples, in the same order.

Tokenizers cut differently: a sentence may have lost words to one model and not to another, and what
one was not asked counts for none. So what is compared is what all were asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from lit_distill.tools.evaluating.cells.predictions import Ints, Predictions

Key = TypeVar("Key")


def problem_of(predictions: Predictions, reference: Predictions) -> str:
    """Why predictions cannot be compared with the reference's, in a line; "" if they can."""
    if np.isnan(predictions.scores).any():
        rows = int(np.isnan(predictions.scores).any(-1).sum())
        return f"{rows} of {len(predictions)} rows have a score that is NaN"
    if predictions.kind is not reference.kind:
        return f"predicts {predictions.kind.value}, and the reference {reference.kind.value}"
    if list(predictions.labels) != list(reference.labels):
        return (
            f"has the labels {', '.join(predictions.labels)}, and the reference "
            f"{', '.join(reference.labels)}"
        )
    if not set(predictions.languages) >= set(reference.languages):
        missing = sorted(set(reference.languages) - set(predictions.languages))
        return f"says nothing in {', '.join(missing)}"
    return ""


def paired(cells: Mapping[Key, Predictions]) -> dict[Key, Predictions]:
    """The examples that all have with the same targets, in the order of the first; maybe none.

    Args:
        cells: at least one, by anything.
    """
    first = next(iter(cells.values()))
    if all(_asked_alike(first, other) for other in cells.values()):
        return dict(cells)
    asked = {key: _examples(predictions) for key, predictions in cells.items()}

    def agreed(name: Name) -> bool:
        """Whether all were asked it, with the same right answers."""
        if not all(name in own for own in asked.values()):
            return False
        targets = [cells[key].targets[own[name]] for key, own in asked.items()]
        return all(np.array_equal(targets[0], other) for other in targets)

    names = [name for name in next(iter(asked.values())) if agreed(name)]
    return {
        key: predictions.take(_rows([asked[key][name] for name in names]))
        for key, predictions in cells.items()
    }


def _asked_alike(first: Predictions, other: Predictions) -> bool:
    same = np.array_equal(first.examples, other.examples)
    return same and np.array_equal(first.targets, other.targets)


Name = tuple[int, int]  # hash of an example, and how many of that hash came before


def _examples(predictions: Predictions) -> dict[Name, Ints]:
    """The rows of every example by its name; a text may occur twice."""
    starts = predictions.starts
    parts = np.split(np.arange(len(predictions)), starts[1:])
    seen: dict[int, int] = {}
    named: dict[Name, Ints] = {}
    for start, rows in zip(starts.tolist(), parts, strict=True):
        value = int(predictions.examples[start])
        seen[value] = seen.get(value, -1) + 1
        named[value, seen[value]] = rows
    return named


def _rows(parts: list[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
