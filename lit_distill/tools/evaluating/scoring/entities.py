"""Entities in tags, by seqeval: what a tag sequence names, and F1 of that.

The mode is seqeval's default, which counts as CoNLL's own script does: an I- that follows no entity
of its type begins one. It is what most published numbers are; seqeval's strict mode would drop such
entities, and so judge a tagger by its grammar as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities

from lit_distill.tools.evaluating.cells.predictions import Ints, Predictions

Floats = NDArray[np.float64]


def are_entities(labels: tuple[str, ...] | list[str]) -> bool:
    """Whether labels are those of IOB2: O, and B- and I- of types."""
    return "O" in labels and all(
        label == "O" or (label[:2] in ("B-", "I-") and len(label) > 2) for label in labels
    )


def entity_f1(predictions: Predictions) -> float | None:
    """Micro F1 of entities; None where there are none, neither true ones nor given ones."""
    true, given = (_sentences(predictions, tags) for tags in _tags(predictions))
    if not get_entities(true) and not get_entities(given):
        return None
    return float(f1_score(true, given, zero_division=0))


def entity_counts(predictions: Predictions) -> Floats:
    """How many entities of every sentence (E, 3) are found, given and true."""
    true, given = (_sentences(predictions, tags) for tags in _tags(predictions))
    counts = np.zeros((len(true), 3))
    for row, (wanted, found) in enumerate(zip(true, given, strict=True)):
        entities, guesses = set(get_entities(wanted)), set(get_entities(found))
        counts[row] = len(entities & guesses), len(guesses), len(entities)
    return counts


def _tags(predictions: Predictions) -> tuple[Ints, Ints]:
    return predictions.targets.astype(np.int64), predictions.chosen


def _sentences(predictions: Predictions, tags: Ints) -> list[list[str]]:
    names = np.asarray(predictions.labels)[tags].tolist()
    ends = [*predictions.starts[1:], len(names)]
    return [names[start:end] for start, end in zip(predictions.starts, ends, strict=True)]
