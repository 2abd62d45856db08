"""Loyalty, calibration and errors of students beside their teacher, from what both predicted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

import numpy as np

from lit_distill.measures import fidelity
from lit_distill.tools.evaluating.cells.predictions import Ints, Kind, Predictions
from lit_distill.tools.evaluating.scoring.metrics import ece

Numbers = dict[str, float | None]


def loyalty(student: Predictions, teacher: Predictions) -> Numbers:
    """Everything that is told of one student and its teacher on the same rows.

    Of classes and tags label and probability loyalty, the ECE of both, and errors inherited,
    invented and corrected; of values their correlation, mean absolute difference and concordance;
    of rankings the share of queries with the same first candidate; of losses nothing.

    Args:
        student: predictions.
        teacher: likewise, paired with it.
    """
    if student.kind in (Kind.CLASSES, Kind.TAGS):
        targets = teacher.targets.astype(np.int64)
        return {
            "label_loyalty": fidelity.label_loyalty(student.chosen, teacher.chosen),
            "probability_loyalty": fidelity.probability_loyalty(student.scores, teacher.scores),
            "ece": ece(student),
            "teacher_ece": ece(teacher),
            **asdict(fidelity.errors(student.chosen, teacher.chosen, targets)),
        }
    if student.kind is Kind.VALUES:
        return asdict(fidelity.value_loyalty(student.scores[:, 0], teacher.scores[:, 0]))
    if student.kind is Kind.RANKING:
        return {"label_loyalty": fidelity.label_loyalty(_firsts(student), _firsts(teacher))}
    return {}


def mean_numbers(found: Iterable[Mapping[str, float | None]]) -> Numbers:
    """Means over seeds or languages, of those where a number is defined."""
    parts = list(found)
    means: Numbers = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        known = [value for part in parts if (value := part.get(name)) is not None]
        means[name] = float(np.mean(known)) if known else None
    return means


def _firsts(predictions: Predictions) -> Ints:
    """The place of the best candidate of every query."""
    queries = np.split(predictions.scores[:, 0], predictions.starts[1:])
    return np.array([query.argmax() for query in queries], dtype=np.int64)
