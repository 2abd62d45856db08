"""How the student does on each language and mix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from callbacks.reports.figures import dots, lines
from callbacks.reports.score_report import ScoreReport, by_language
from lit_distill.knobs import Count
from lit_distill.measures import Measurement, MetricSpec


class PerLanguage(ScoreReport):
    """How good the student itself is, by language, after each validation and test.

    Of language models: loss in nats per selected row, perplexity, share of rows that were predicted
    right. Other measures have other metrics: see `measured_by` of the method.
    Scalars: `val/<language>/loss`, `val/<language>/perplexity` and `val/<language>/accuracy`;
    `val/accuracy` is the mean over languages, as `val/loss` is.
    Figures: the leading metric (the loss) of each language now and the time before; its way over
    training.

    Args:
        rows: see `ScoreReport`.
    """

    def __init__(self, rows: Count = 40) -> None:
        super().__init__(rows)
        self._history: dict[str, dict[int, dict[str, float]]] = {}

    def shows(self, metric: MetricSpec) -> bool:
        """Whether it is about the student alone."""
        return not metric.compares

    def figures(
        self, student: str, measured: Measurement, metrics: Sequence[MetricSpec], step: int
    ) -> dict[str, Figure]:
        """See `ScoreReport.figures`; of the leading metric also how it was before."""
        shown = super().figures(student, measured, metrics[1:], step)
        if not metrics or not metrics[0].figure or not measured.languages:
            return shown
        leading = metrics[0]
        history = self._history.setdefault(student, {})
        before = [past for at, past in history.items() if at != step]
        history[step] = by_language(measured, leading)
        now = dots(leading.figure, history[step], before[-1] if before else None)
        shown[f"{leading.name}_by_language"] = now
        if before:
            steps = sorted(history)
            paths = {
                name: [history[at].get(name, math.nan) for at in steps] for name in history[step]
            }
            shown[f"{leading.name}_history"] = lines(leading.figure, steps, paths)
        return shown

    def state_dict(self) -> dict[str, Any]:
        """The history, so that figures after a resume show all of it."""
        return {"history": self._history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the history over."""
        self._history = state_dict["history"]
