"""Regression from features of data and pipeline to what a pipeline achieves, with honest errors.

N rows, F features of the data, P of the pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lit_distill.tools.recommending.trials import Trial, Value

Floats = NDArray[np.float64]
Kind = Literal["ridge", "boosting"]
Predicts = Callable[[Sequence[Trial]], Floats]
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
"""Of ridge regression, on standardised columns; the data sets choose one."""
COUNTED = ("texts", "tokens", "targets", "vocabulary", "teacher_parameters")
"""Features of the data that are read by their logarithms."""
ABSENT = "(absent)"


@dataclass(frozen=True)
class Columns:
    """Features as standardised numbers, by the rows of a fit.

    A setting is a number where all rows have numbers, and a row without it has their mean; else
    each of its values is a column.

    Attributes:
        numbers: mean and deviation by name.
        choices: values by name.
    """

    numbers: Mapping[str, tuple[float, float]]
    choices: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Value]]) -> Columns:
        """Those of rows, without what is the same in all of them."""
        numbers, choices = {}, {}
        for name in sorted({name for row in rows for name in row}):
            known = [row[name] for row in rows if name in row]
            values = [value for value in known if not isinstance(value, str)]
            if len(values) == len(known):
                mean, deviation = float(np.mean(values)), float(np.std(values))
                if deviation > 0:
                    numbers[name] = mean, deviation
            else:
                different = tuple(sorted({str(row.get(name, ABSENT)) for row in rows}))
                if len(different) > 1:
                    choices[name] = different
        return cls(numbers, choices)

    def table(self, rows: Sequence[Mapping[str, Value]]) -> Floats:
        """Rows as columns; a value that no row of the fit had is 0 everywhere."""
        columns = [
            [(_number(row.get(name), mean) - mean) / deviation for row in rows]
            for name, (mean, deviation) in self.numbers.items()
        ]
        columns += [
            [float(str(row.get(name, ABSENT)) == value) - 1 / len(values) for row in rows]
            for name, values in self.choices.items()
            for value in values
        ]
        return np.array(columns, dtype=np.float64).reshape(len(columns), len(rows)).T


def fitted(rows: Sequence[Trial], kind: Kind) -> Predicts:
    """A regression on all rows; of ridge, with the penalty that left-out data sets choose.

    Args:
        rows: of two data sets or more.
        kind: "ridge": linear in features of data, of pipeline, and products of both, so that
            different data can have different best pipelines; "boosting": regression trees.
    """
    if kind == "boosting":
        return _fit(rows, _trees)
    errors = {}
    for penalty in PENALTIES:
        found = left_out(rows, partial(_fit, make=_ridge(penalty)))
        errors[penalty] = float(np.mean([error for _, error in found]))
    return _fit(rows, _ridge(min(errors, key=lambda penalty: errors[penalty])))


def left_out(
    rows: Sequence[Trial], fit: Callable[[Sequence[Trial]], Predicts]
) -> list[tuple[Trial, float]]:
    """Every row with the absolute error of a fit to the other data sets."""
    found = []
    for name in dict.fromkeys(row.data_set for row in rows):
        own = [row for row in rows if row.data_set == name]
        guessed = fit([row for row in rows if row.data_set != name])(own)
        found += [
            (row, abs(float(guess) - row.achieved)) for row, guess in zip(own, guessed, strict=True)
        ]
    return found


def mean_of_all(rows: Sequence[Trial]) -> Predicts:
    """The baseline that tells no pipeline from another: the mean."""
    mean = float(np.mean([row.achieved for row in rows]))
    return lambda asked: np.full(len(asked), mean)


def mean_of_pipeline(rows: Sequence[Trial]) -> Predicts:
    """The baseline that tells no data set from another: each pipeline's mean, by its name."""
    every = float(np.mean([row.achieved for row in rows]))
    names = dict.fromkeys(row.name for row in rows)
    means = {n: float(np.mean([row.achieved for row in rows if row.name == n])) for n in names}
    return lambda asked: np.array([means.get(row.name, every) for row in asked])


def _fit(rows: Sequence[Trial], make: Callable[[], Any]) -> Predicts:
    data = Columns.of([_features(row) for row in rows])
    pipeline = Columns.of([row.pipeline for row in rows])

    def design(asked: Sequence[Trial]) -> Floats:
        of_data = data.table([_features(row) for row in asked])
        of_pipeline = pipeline.table([row.pipeline for row in asked])
        both = (of_data[:, :, None] * of_pipeline[:, None, :]).reshape(len(asked), -1)
        return np.concatenate([of_data, of_pipeline, both], axis=1)

    achieved = np.array([row.achieved for row in rows])
    if not design(rows).shape[1]:  # rows that differ in nothing have nothing but their mean
        return mean_of_all(rows)
    model = make().fit(design(rows), achieved)
    return lambda asked: np.asarray(model.predict(design(asked)))


def _ridge(penalty: float) -> Callable[[], Any]:
    def make() -> Any:
        from sklearn.linear_model import Ridge

        return Ridge(alpha=penalty)

    return make


def _trees() -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(n_estimators=100, max_depth=3, random_state=0)


def _features(row: Trial) -> dict[str, Value]:
    return {n: float(np.log1p(v)) if n in COUNTED else v for n, v in row.data.items()}


def _number(value: Value | None, mean: float) -> float:
    return mean if value is None or isinstance(value, str) else value
