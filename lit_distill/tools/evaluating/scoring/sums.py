"""Metrics of many resamples at once, from sums over examples.

What every example adds to a metric is found once; a resample is then a row of counts times that.
Tests compare each with the library on the drawn rows.

N rows, E examples, R resamples, K labels. A function here is a `Resampler` of `metrics.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lit_distill.tools.evaluating.cells.predictions import Predictions

Floats = NDArray[np.float64]
OnDraws = Callable[[Floats], Floats]

_ROUNDING = 1e-12  # of a variance, below which nothing but rounding is left of it


def accuracy(predictions: Predictions) -> OnDraws:
    """The share of rows with the right label."""
    right = predictions.chosen == predictions.targets
    return _ratio(predictions, right, np.ones(len(predictions)))


def loss(predictions: Predictions) -> OnDraws:
    """Losses over units."""
    return _ratio(predictions, predictions.scores[:, 0], predictions.targets)


def macro_f1(predictions: Predictions) -> OnDraws:
    """The mean F1 of all labels that are right or given in a draw."""
    labels = np.eye(predictions.scores.shape[1])
    given, wanted = labels[predictions.chosen], labels[predictions.targets.astype(np.int64)]
    found = _of_examples(predictions, given * wanted)
    occurring = _of_examples(predictions, given + wanted)

    def on_draws(counts: Floats) -> Floats:
        occurs = counts @ occurring
        each = 2 * (counts @ found) / np.maximum(occurs, 1)
        scores: Floats = each.sum(-1) / (occurs > 0).sum(-1)
        return scores

    return on_draws


def f1_of(counts_of: Callable[[Predictions], Floats]) -> Callable[[Predictions], OnDraws]:
    """Micro F1 of what is found, given and true in every example (E, 3)."""

    def resampler(predictions: Predictions) -> OnDraws:
        found, given, true = counts_of(predictions).T

        def on_draws(counts: Floats) -> Floats:
            return _divided(2 * (counts @ found), counts @ (given + true))

        return on_draws

    return resampler


def calibration(predictions: Predictions, bins: int = 15) -> OnDraws:
    """The expected calibration error, in torchmetrics' bins: that of 1 is its own."""
    sure = np.exp(predictions.scores.max(-1)).clip(0, 1)
    places = np.searchsorted(np.linspace(0, 1, bins + 1), sure, side="right") - 1
    gaps = (predictions.chosen == predictions.targets) - sure
    by_bin = _of_examples(predictions, np.eye(bins + 1)[places] * gaps[:, None])
    rows = _of_examples(predictions, np.ones((len(predictions), 1)))[:, 0]

    def on_draws(counts: Floats) -> Floats:
        errors: Floats = np.abs(counts @ by_bin).sum(-1) / (counts @ rows)
        return errors

    return on_draws


def auroc(predictions: Predictions) -> OnDraws:
    """The area under the ROC curve, a mean over labels; of two labels that of the second."""
    labels, right = predictions.scores.shape[1], predictions.targets.astype(np.int64)
    each = [
        _area(predictions, predictions.scores[:, label], right == label)
        for label in ([1] if labels == 2 else range(labels))
    ]
    return lambda counts: np.asarray(np.mean([area(counts) for area in each], axis=0))


def _area(predictions: Predictions, scores: Floats, inside: NDArray[np.bool_]) -> OnDraws:
    """The share of pairs in order, by counting for each score what lies below and beside it."""
    order = np.argsort(scores)
    levels = np.unique(scores[order], return_index=True)[1]
    sizes = np.diff([*predictions.starts, len(scores)])

    def on_draws(counts: Floats) -> Floats:
        rows = np.repeat(counts, sizes, axis=1)[:, order]
        above = np.add.reduceat(rows * inside[order], levels, axis=1)
        beside = np.add.reduceat(rows * ~inside[order], levels, axis=1)
        below = beside.cumsum(1) - beside
        ordered = (above * (below + beside / 2)).sum(1)
        return _divided(ordered, above.sum(1) * beside.sum(1))

    return on_draws


def correlation(predictions: Predictions) -> OnDraws:
    """Pearson's correlation."""
    x, y = _standard(predictions.scores[:, 0]), _standard(predictions.targets)
    powers = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    added = _of_examples(predictions, powers)

    def on_draws(counts: Floats) -> Floats:
        total = counts @ added
        n, x, y, xx, yy, xy = (total / total[:, :1]).T
        n, both = total[:, 0], (xx - x * x, yy - y * y)
        alive = (np.minimum(*both) > _ROUNDING) & (n > 1)
        product = np.where(alive, both[0] * both[1], np.nan)
        return np.asarray((xy - x * y) / np.sqrt(product)).clip(-1, 1)

    return on_draws


def _ratio(predictions: Predictions, above: NDArray[np.generic], below: Floats) -> OnDraws:
    upper, lower = _of_examples(predictions, np.stack([above, below], axis=1)).T
    return lambda counts: _divided(counts @ upper, counts @ lower)


def _of_examples(predictions: Predictions, rows: Floats) -> Floats:
    """Sums (E, S) of rows (N, S)."""
    added: Floats = np.add.reduceat(rows, predictions.starts, axis=0)
    return added


def _divided(above: Floats, below: Floats) -> Floats:
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)


def _standard(values: Floats) -> Floats:
    """Values of mean 0 and variance 1, so that sums of squares lose nothing."""
    spread = values.std()
    return np.asarray((values - values.mean()) / (spread if spread > 0 else 1))
