"""Predictions drawn at random, ties and empty classes included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lit_distill.tools.evaluating.cells.cell import CellResult
from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def predictions(
    kind: Kind,
    targets: Sequence[float] | NDArray[np.float64],
    scores: NDArray[np.float64],
    examples: Sequence[int] | None = None,
    languages: Sequence[str] = ("en",),
    language: Sequence[int] | None = None,
    labels: Sequence[str] = (),
) -> Predictions:
    """Rows that are an example each, in one language, unless more is said."""
    rows = len(targets)
    return Predictions(
        kind,
        np.array(range(rows) if examples is None else examples, dtype=np.uint64),
        np.array([0] * rows if language is None else language, dtype=np.int64),
        languages,
        np.asarray(targets, dtype=np.float64),
        np.asarray(scores, dtype=np.float64).reshape(rows, -1),
        labels,
    )


def log_probabilities(random: Generator, rows: int, labels: int) -> NDArray[np.float64]:
    """Of a few levels only, so that many are tied."""
    logits = random.integers(0, 4, (rows, labels)) * 1.5
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def certain(labels: Sequence[int], count: int, sure: float = 0.9) -> NDArray[np.float64]:
    """Log-probabilities of a model that gives these labels, all equally sure."""
    rest = (1 - sure) / (count - 1)
    chances = np.where(np.eye(count)[list(labels)] > 0, sure, rest)
    return np.log(chances)


def some(random: Generator, kind: Kind) -> Predictions:
    """A small case of a kind."""
    rows = int(random.integers(1, 24))
    if kind is Kind.CLASSES:
        labels = int(random.integers(2, 6))
        right = random.integers(0, random.integers(1, labels + 1), rows)  # some never occur
        return predictions(kind, right, log_probabilities(random, rows, labels))
    examples = np.sort(random.integers(0, 6, rows)).tolist()
    if kind is Kind.TAGS:
        right = random.integers(0, len(TAGS), rows)
        scores = log_probabilities(random, rows, len(TAGS))
        return predictions(kind, right, scores, examples, labels=TAGS)
    if kind is Kind.RANKING:
        right = random.integers(0, 3, rows)
        return predictions(kind, right, random.integers(0, 4, rows) * 1.0, examples)
    if kind is Kind.LOSSES:
        return predictions(kind, random.integers(1, 9, rows), random.random(rows), examples)
    return predictions(kind, random.integers(0, 4, rows), random.integers(0, 4, rows) * 0.5)


def right_share(share: float, rows: int, labels: int = 2, seed: int = 0) -> Predictions:
    """Classes that are right in so many of the rows; labels turn by turn, and always the same."""
    right = np.arange(rows) % labels
    wrong = np.random.default_rng(seed).permutation(rows) >= round(share * rows)
    chosen = np.where(wrong, (right + 1) % labels, right)
    return predictions(Kind.CLASSES, right, certain(chosen.tolist(), labels))


def cell(
    model: str, task: str, own: Predictions | None, seed: int = 1, error: str = ""
) -> CellResult:
    """A cell that took a second."""
    return CellResult(model, task, seed, own, 1.0, error)
