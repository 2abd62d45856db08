"""What a model says about the examples of a task: the one form in which cells are kept.

N rows, K scores of each. A row is what is scored alone: a text with its label, a word with its tag,
a candidate of a question. An example is what belongs together, one row or several: resampling and
comparing models take examples whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Kind(Enum):
    """What is predicted, which decides on the metrics that can be computed."""

    CLASSES = "classes"
    """One of K labels: `targets` are their numbers, `scores` (N, K) log-probabilities."""
    TAGS = "tags"
    """One of K labels of a word, in IOB2 where these are entities; an example is a sentence."""
    VALUES = "values"
    """A number: `targets` are the right ones, `scores` (N, 1) those that the model gives."""
    RANKING = "ranking"
    """A candidate of a query: `targets` are its relevance, `scores` (N, 1); an example is a
    query."""
    LOSSES = "losses"
    """Nothing is chosen: `scores` (N, 1) are losses in nats, `targets` units that they are of."""


@dataclass(frozen=True)
class Predictions:
    """All rows of a test split, in the order of the data.

    Attributes:
        kind: of all rows.
        examples: (N,) uint64, the hash of the example that a row belongs to; rows of one are
            neighbours. It depends on the text alone, so that models with other tokenizers agree.
        language: (N,) numbers into `languages`.
        languages: tags.
        targets: (N,) float64, see `Kind`.
        scores: (N, K) float64, see `Kind`.
        labels: names of the K scores, of classes and tags; else empty.
    """

    kind: Kind
    examples: NDArray[np.uint64]
    language: Ints
    languages: Sequence[str]
    targets: Floats
    scores: Floats
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.examples, self.language, self.targets, self.scores)}
        assert len(lengths) == 1, "rows of unequal number"
        assert self.scores.ndim == 2, "scores are (N, K)"

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def chosen(self) -> Ints:
        """(N,) the number of the best score of every row."""
        best: Ints = self.scores.argmax(-1).astype(np.int64)
        return best

    @property
    def starts(self) -> Ints:
        """(E,) the first row of every example."""
        changed = np.ones(len(self), dtype=bool)
        changed[1:] = self.examples[1:] != self.examples[:-1]
        return np.flatnonzero(changed).astype(np.int64)

    def take(self, rows: Ints | NDArray[np.bool_]) -> Predictions:
        """Some rows, by number or mask."""
        return replace(
            self,
            examples=self.examples[rows],
            language=self.language[rows],
            targets=self.targets[rows],
            scores=self.scores[rows],
        )

    def of(self, language: str) -> Predictions:
        """The rows of one language."""
        return self.take(self.language == list(self.languages).index(language))
