"""Metrics by the names that a config uses: always a library's number, None where it is undefined.

Beside its score a metric says how it is computed on many resamples at once (`Resampler`): from sums
over examples where it is a function of such sums, which a thousand resamples share, and else by the
library on the drawn rows themselves.

N rows, E examples, R resamples, K labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lit_distill.errors import UserError
from lit_distill.measures.fidelity import calibration_error, pearson, spearman
from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions
from lit_distill.tools.evaluating.scoring import sums
from lit_distill.tools.evaluating.scoring.entities import are_entities, entity_counts, entity_f1
from lit_distill.tools.evaluating.scoring.rankings import by_query

Floats = NDArray[np.float64]
Score = Callable[[Predictions], float | None]
Resampler = Callable[[Predictions], Callable[[Floats], Floats]]
"""Of predictions, a function from how often examples are drawn (R, E) to scores (R,)."""

LABELLED = (Kind.CLASSES, Kind.TAGS)


@dataclass(frozen=True)
class Metric:
    """A number by which predictions are judged.

    Attributes:
        name: in configs and reports.
        kinds: of predictions that it can judge.
        score: of predictions with at least one row; None where undefined.
        resampler: the same on resamples, NaN where undefined; None: by `score` on each.
        smaller_is_better: a loss or an error, which has no chance level to be corrected by.
        chance: what knowing nothing gives, where no baseline says it.
    """

    name: str
    kinds: tuple[Kind, ...]
    score: Score
    resampler: Resampler | None = None
    smaller_is_better: bool = False
    chance: Score | float = 0.0

    def of(self, predictions: Predictions) -> float | None:
        """The score; None where undefined, also where nothing is to be judged."""
        return self.score(predictions) if len(predictions) else None

    def chance_of(self, predictions: Predictions) -> float | None:
        """What knowing nothing gives."""
        return self.chance(predictions) if callable(self.chance) else self.chance

    def prepared(self, predictions: Predictions) -> Callable[[Floats], Floats]:
        """A function from how often examples are drawn (R, E) to scores (R,)."""
        if self.resampler is not None:
            return self.resampler(predictions)
        return lambda counts: np.array([self._drawn(predictions, row) for row in counts])

    def _drawn(self, predictions: Predictions, counts: Floats) -> float:
        rows = np.arange(len(predictions))
        times = np.repeat(counts.astype(np.int64), np.diff([*predictions.starts, len(rows)]))
        found = self.of(predictions.take(np.repeat(rows, times)))
        return np.nan if found is None else found


def accuracy(predictions: Predictions) -> float:
    """The share of rows with the right label."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(predictions.targets, predictions.chosen))


def macro_f1(predictions: Predictions) -> float:
    """The mean F1 of all labels that are right or given somewhere."""
    from sklearn.metrics import f1_score

    right = predictions.targets.astype(np.int64)
    return float(f1_score(right, predictions.chosen, average="macro", zero_division=0))


def auroc(predictions: Predictions) -> float | None:
    """The area under the ROC curve; of more than two labels, the mean of each against the rest."""
    from sklearn.metrics import roc_auc_score

    labels, right = predictions.scores.shape[1], predictions.targets.astype(np.int64)
    if len(np.unique(right)) < labels:
        return None
    judged = [1] if labels == 2 else range(labels)
    areas = [roc_auc_score(right == label, predictions.scores[:, label]) for label in judged]
    return float(np.mean(areas))


def ece(predictions: Predictions) -> float | None:
    """The expected calibration error, in 15 bins."""
    sure = np.exp(predictions.scores.max(-1))
    return calibration_error(sure, predictions.chosen == predictions.targets)


def correlation(predictions: Predictions) -> float | None:
    """Pearson's correlation."""
    return pearson(predictions.scores[:, 0], predictions.targets)


def rank_correlation(predictions: Predictions) -> float | None:
    """Spearman's correlation."""
    return spearman(predictions.scores[:, 0], predictions.targets)


def loss(predictions: Predictions) -> float | None:
    """Nats per unit: all losses over all units."""
    units = predictions.targets.sum()
    return float(predictions.scores.sum() / units) if units > 0 else None


def always_the_commonest(metric: Score) -> Score:
    """The score of giving every row the label that most rows have."""

    def chance(predictions: Predictions) -> float | None:
        commonest = np.bincount(predictions.targets.astype(np.int64)).argmax()
        scores = np.full_like(predictions.scores, -np.inf)
        scores[:, commonest] = 0.0
        return metric(replace(predictions, scores=scores))

    return chance


def _ranking(name: str) -> Metric:
    def score(predictions: Predictions) -> float | None:
        return float(by_query(predictions, name).mean()) if predictions.targets.any() else None

    def chance(predictions: Predictions) -> float | None:
        """A mean over random orders."""
        draws = np.random.default_rng(0).random((10, *predictions.scores.shape))
        found = [score(replace(predictions, scores=scores)) for scores in draws]
        known = [value for value in found if value is not None]
        return float(np.mean(known)) if known else None

    def resampler(predictions: Predictions) -> Callable[[Floats], Floats]:
        values = by_query(predictions, name)
        return lambda counts: counts @ values / counts.sum(1)

    return Metric(name, (Kind.RANKING,), score, resampler, chance=chance)


_METRICS = (
    Metric("accuracy", LABELLED, accuracy, sums.accuracy, chance=always_the_commonest(accuracy)),
    Metric("macro_f1", LABELLED, macro_f1, sums.macro_f1, chance=always_the_commonest(macro_f1)),
    Metric("auroc", (Kind.CLASSES,), auroc, sums.auroc, chance=0.5),
    Metric("ece", LABELLED, ece, sums.calibration, smaller_is_better=True),
    Metric("entity_f1", (Kind.TAGS,), entity_f1, sums.f1_of(entity_counts)),
    Metric("pearson", (Kind.VALUES,), correlation, sums.correlation),
    Metric("spearman", (Kind.VALUES,), rank_correlation),
    *map(_ranking, ("mrr", "map", "p@1", "ndcg")),
    Metric("loss", (Kind.LOSSES,), loss, sums.loss, smaller_is_better=True),
)
METRICS = {metric.name: metric for metric in _METRICS}
"""All metrics, by name."""


def default_metrics(predictions: Predictions) -> tuple[str, ...]:
    """The metrics of a task that names none, the leading one first."""
    if predictions.kind is Kind.TAGS and are_entities(list(predictions.labels)):
        return ("entity_f1",)
    names = {
        Kind.CLASSES: ("accuracy", "macro_f1"),
        Kind.TAGS: ("accuracy", "macro_f1"),
        Kind.VALUES: ("pearson", "spearman"),
        Kind.RANKING: ("mrr", "p@1"),
        Kind.LOSSES: ("loss",),
    }
    return names[predictions.kind]


def check_names(names: Sequence[str], task: str) -> None:
    """Refuses metrics that do not exist; before anything runs.

    Args:
        names: as a config has them.
        task: whose they are, for the message.

    Raises:
        UserError: one is unknown.
    """
    for name in names:
        if name not in METRICS:
            raise UserError(
                f"The task {task} names the metric {name!r}, which does not exist: use some of "
                f"{', '.join(METRICS)}."
            )


def check_metrics(names: Sequence[str], task: str, predictions: Predictions) -> None:
    """Refuses metrics that say nothing about a task.

    Args:
        names: as a config has them.
        task: whose they are, for the message.
        predictions: of any of its cells.

    Raises:
        UserError: one is unknown or of other predictions.
    """
    check_names(names, task)
    fitting = [name for name in METRICS if _fits(METRICS[name], predictions)]
    for name in names:
        if name not in fitting:
            what = predictions.kind.value
            if name == "entity_f1" and predictions.kind is Kind.TAGS:
                what = "tags that are no entities in IOB2 (O, B-..., I-...)"
            raise UserError(
                f"The task {task} predicts {what}, of which {name} says nothing: use some of "
                f"{', '.join(fitting)}."
            )


def _fits(metric: Metric, predictions: Predictions) -> bool:
    entities = metric.name != "entity_f1" or are_entities(list(predictions.labels))
    return predictions.kind in metric.kinds and entities
