"""How the student does on each language and mix."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure

from callbacks.reports.figures import dots, lines
from callbacks.reports.score_report import Column, ScoreReport
from lit_distill.knobs import Count
from lit_distill.measures.language_model import Scores


class PerLanguage(ScoreReport):
    """Loss, perplexity and accuracy by language, after each validation and test.

    Table: loss in nats per selected row, perplexity, share of rows that were predicted right.
    Scalars: `val/<language>/loss`, `val/<language>/perplexity` and `val/<language>/accuracy`;
    `val/accuracy` is the mean over languages, as `val/loss` is.
    Figures: the loss of each language now and the time before; its way over training.

    Args:
        rows: see `ScoreReport`.
    """

    columns = (
        Column("loss", lambda score: score.loss, "loss"),
        Column("perplexity", lambda score: score.perplexity, "perplexity"),
        Column("accuracy", lambda score: score.accuracy, "accuracy", log_mean=True),
    )

    def __init__(self, rows: Count = 40) -> None:
        super().__init__(rows)
        self._history: dict[str, dict[int, dict[str, float]]] = {}

    def figures(self, student: str, scores: dict[str, Scores], step: int) -> dict[str, Figure]:
        """See `ScoreReport.figures`."""
        history = self._history.setdefault(student, {})
        before = [past for at, past in history.items() if at != step]
        history[step] = {language: score.loss for language, score in scores.items()}
        now = dots("held-out loss, nats", history[step], before[-1] if before else None)
        if not before:
            return {"loss_by_language": now}
        steps = sorted(history)
        paths = {name: [history[at].get(name, math.nan) for at in steps] for name in scores}
        return {"loss_by_language": now, "loss_history": lines("held-out loss, nats", steps, paths)}

    def state_dict(self) -> dict[str, Any]:
        """The history, so that figures after a resume show all of it."""
        return {"history": self._history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the history over."""
        self._history = state_dict["history"]
