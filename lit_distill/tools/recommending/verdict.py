"""How far a regression can be believed: errors on data sets that it has not seen, and refusals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lit_distill.errors import UserError
from lit_distill.tools.recommending.regression import (
    Floats,
    Kind,
    Predicts,
    fitted,
    mean_of_all,
    mean_of_pipeline,
)
from lit_distill.tools.recommending.trials import Trial

LEAST_DATA_SETS, LEAST_ROWS = 3, 9


@dataclass(frozen=True)
class Error:
    """How wrong predictions about data sets are that were left out of the fit.

    Attributes:
        absolute: mean absolute error, of the target's unit.
        ranks: Spearman's correlation of predicted and true order, a mean over data sets; None where
            all predictions are equal.
    """

    absolute: float
    ranks: float | None

    @property
    def sentence(self) -> str:
        """As it is shown."""
        ranks = "no order" if self.ranks is None else f"rank correlation {self.ranks:+.2f}"
        return f"mean absolute error {self.absolute:.4g}, {ranks}"


@dataclass(frozen=True)
class Verdict:
    """What is known of the quality of predictions.

    Attributes:
        model: the regression, each data set left out in turn.
        mean: the baseline that gives every pipeline the mean.
        average: the baseline that gives every pipeline its own mean over other data sets.
        spread: how far pipelines are from the mean of their data set, on average: the error of
            somebody who knows the data set and no pipeline.
        data_sets: how many.
        rows: how many.
    """

    model: Error
    mean: Error
    average: Error
    spread: float
    data_sets: int
    rows: int

    @property
    def sentences(self) -> list[str]:
        """All errors."""
        return [
            f"Left-out data sets ({self.data_sets}, {self.rows} rows): {self.model.sentence}.",
            f"  of the mean of all: {self.mean.sentence}.",
            f"  of each pipeline's mean over other data sets: {self.average.sentence}.",
            f"Pipelines of a data set are {self.spread:.4g} from its mean, on average.",
        ]

    @property
    def why_not(self) -> list[str]:
        """Why nothing can be recommended; empty if something can."""
        own, found = self.model, []
        if own.absolute >= self.spread:
            found.append("the error is no smaller than what pipelines differ by")
        if own.absolute >= self.mean.absolute:
            found.append("it is no better than the mean of all pipelines")
        if own.absolute >= self.average.absolute:
            found.append("it is no better than each pipeline's mean over other data sets")
        if own.ranks is None or own.ranks <= 0:
            found.append("the order of pipelines is not found on data sets that were left out")
        return found


def judged(rows: Sequence[Trial], kind: Kind) -> Verdict:
    """Leaves each data set out in turn.

    Args:
        rows: all.
        kind: of the regression.

    Raises:
        UserError: there are too few rows or data sets, or a data set has a single pipeline.
    """
    sets = dict.fromkeys(row.data_set for row in rows)
    if len(sets) < LEAST_DATA_SETS or len(rows) < LEAST_ROWS:
        raise UserError(
            f"The tables hold {len(rows)} rows of {len(sets)} data sets: too few to say anything. "
            f"Compare on {LEAST_DATA_SETS} data sets at least, with {LEAST_ROWS} rows in all."
        )
    for name in sets:
        if sum(row.data_set == name for row in rows) < 2:
            raise UserError(
                f"Table {name} has a single pipeline, so it cannot tell which is better: compare "
                "two at least on each data set."
            )
    by_set = [np.array([row.achieved for row in rows if row.data_set == name]) for name in sets]
    spread = float(np.concatenate([np.abs(own - own.mean()) for own in by_set]).mean())
    return Verdict(
        _error(rows, lambda some: fitted(some, kind)),
        _error(rows, mean_of_all),
        _error(rows, mean_of_pipeline),
        spread,
        len(sets),
        len(rows),
    )


def _error(rows: Sequence[Trial], fit: Callable[[Sequence[Trial]], Predicts]) -> Error:
    wrong, ranks = [], []
    for name in dict.fromkeys(row.data_set for row in rows):
        own = [row for row in rows if row.data_set == name]
        guessed = fit([row for row in rows if row.data_set != name])(own)
        true = np.array([row.achieved for row in own])
        wrong.append(np.abs(guessed - true))
        ranks.append(_rank_correlation(guessed, true))
    known = [value for value in ranks if value is not None]
    mean = float(np.mean(known)) if known else None
    return Error(float(np.concatenate(wrong).mean()), mean)


def _rank_correlation(guessed: Floats, true: Floats) -> float | None:
    """Spearman's; None where one of both has no order."""
    from scipy.stats import spearmanr

    if np.ptp(guessed) < 1e-12 or np.ptp(true) == 0:
        return None
    return float(spearmanr(guessed, true).statistic)
