"""What is measured of a regression: numbers against right ones, and against the teacher's.

Shapes: N texts.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.regression import (
    concordance_corrcoef,
    mean_absolute_error,
    mean_squared_error,
    pearson_corrcoef,
    spearman_corrcoef,
)
from torchmetrics.utilities import dim_zero_cat

from lit_distill.batch import Batch, LabelledBatch, row_languages
from lit_distill.measures.measure import Measure, Measurement, MetricSpec, Scores
from lit_distill.models import decision_logits, teach, teacher_view


class KeptNumbers(Metric):
    """All numbers that were predicted: ranks of a correlation need every one of them."""

    full_state_update = False
    rows: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    def update(self, rows: Tensor) -> None:
        """Adds (N, 4): language, right number, the student's, and the teacher's or NaN."""
        self.rows.append(rows)

    def compute(self) -> Tensor:
        """All rows (M, 4) of all ranks."""
        found: Tensor = dim_zero_cat(self.rows)
        return found


class ValueMeasure(Measure):
    """Squared error and correlations of numbers; where there is a teacher, regression loyalty.

    Loyalty is Pearson's correlation of student and teacher, which is blind to scale and offset: so
    their mean absolute difference and Lin's concordance stand beside it. Means count every language
    the same. A correlation with a constant does not exist: None.
    """

    metrics = (
        MetricSpec("loss", "MSE", monitored=True, figure="mean squared error"),
        MetricSpec("pearson", "Pearson", smaller_is_better=False, figure="Pearson's r"),
        MetricSpec("spearman", "Spearman", smaller_is_better=False),
        MetricSpec(
            "regression_loyalty",
            "loyalty",
            smaller_is_better=False,
            compares=True,
            figure="Pearson's r with the teacher",
        ),
        MetricSpec("teacher_mae", "MAE to teacher", compares=True),
        MetricSpec("teacher_ccc", "CCC with teacher", smaller_is_better=False, compares=True),
        MetricSpec("teacher_loss", "teacher MSE", compares=True, in_card=False),
    )
    caption = (
        "mean squared error, and the correlations of Pearson and Spearman, of the numbers; "
        "regression loyalty, Pearson's correlation with the teacher's numbers, their mean absolute "
        "difference, and their concordance correlation."
    )

    def start(self) -> None:
        """See `Measure`."""
        device = self.method.device
        self._kept = {name: KeptNumbers().to(device) for name in self.method.students}
        for kept in self._kept.values():  # ranks exchange tensors, also of nothing
            kept.update(torch.zeros(0, 4, dtype=torch.float64, device=device))

    def update(self, batch: Batch) -> None:
        """See `Measure`."""
        given = cast(LabelledBatch, batch)
        models, view = self.method.cast.comparable_teachers, teacher_view(batch)
        right = given["values"].double()
        theirs = torch.full_like(right, torch.nan)
        if models:
            taught = teach(models, self.method.ensemble, batch, view=view)
            theirs = taught.logits(given["teacher_rows"] if view else given["rows"]).squeeze(-1)
        for name, student in self.method.cast.student_models.items():
            ours = decision_logits(student, given, student.encode(batch)).squeeze(-1)
            columns = row_languages(batch), right, ours, theirs
            self._kept[name].update(torch.stack([each.double() for each in columns], 1))

    def compute(self) -> dict[str, Measurement]:
        """See `Measure`."""
        return {name: self._measurement(kept.compute()) for name, kept in self._kept.items()}

    def _measurement(self, rows: Tensor) -> Measurement:
        languages = {
            name: value_scores(*own[:, 1:].unbind(1))
            for number, name in enumerate(self.method.data_facts.languages)
            if len(own := rows[rows[:, 0] == number])
        }
        found = Measurement.by_language(languages)
        return Measurement(languages, {**found.mean, "rows": len(rows)} if languages else {})


def value_scores(right: Tensor, student: Tensor, teacher: Tensor) -> Scores:
    """Scores of numbers (N,) against right ones and a teacher's, which are NaN without one."""
    alone = bool(teacher.isnan().any())
    against = {
        "teacher_loss": None if alone else _number(mean_squared_error, teacher, right),
        "regression_loyalty": None if alone else _correlation(pearson_corrcoef, student, teacher),
        "teacher_mae": None if alone else _number(mean_absolute_error, student, teacher),
        "teacher_ccc": None if alone else _correlation(concordance_corrcoef, student, teacher),
    }
    return {
        "rows": len(right),
        "loss": _number(mean_squared_error, student, right),
        "pearson": _correlation(pearson_corrcoef, student, right),
        "spearman": _correlation(spearman_corrcoef, student, right),
        **against,
    }


def _number(of: Callable[[Tensor, Tensor], Tensor], one: Tensor, other: Tensor) -> float:
    return float(of(one, other))


def _correlation(
    of: Callable[[Tensor, Tensor], Tensor], one: Tensor, other: Tensor
) -> float | None:
    """A correlation; None of fewer than two numbers, or where all of one side are equal."""
    if len(one) < 2 or bool((one == one[0]).all() | (other == other[0]).all()):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of variances near zero: the number is told, or None
        found = float(of(one, other))
    return found if math.isfinite(found) else None
