"""How close the student is to its teacher on each language and mix."""

from __future__ import annotations

from matplotlib.figure import Figure

from callbacks.reports.figures import dots
from callbacks.reports.score_report import Column, ScoreReport
from lit_distill.measures.language_model import Scores


class TeacherAgreement(ScoreReport):
    """Top-1 agreement and KL(teacher || student) by language, after each validation and test.

    Table: share of selected rows on which both put the same token first, KL in nats per row at
    temperature 1, the teacher's own loss.
    Scalars: `val/agreement`, `val/kl` and `val/teacher_loss` (means over languages), and each of
    them of every language, as `val/<language>/agreement`.
    Figures: agreement and KL of each language.

    Without a teacher nothing is shown.

    Args:
        rows: see `ScoreReport`.
    """

    columns = (
        Column("agreement", lambda score: score.agreement, "agreement", log_mean=True),
        Column("KL", lambda score: score.kl, "kl", log_mean=True),
        Column("teacher loss", lambda score: score.teacher_loss, "teacher_loss", log_mean=True),
    )

    def figures(self, student: str, scores: dict[str, Scores], step: int) -> dict[str, Figure]:
        """See `ScoreReport.figures`."""
        del student, step
        agreement = {name: s.agreement for name, s in scores.items() if s.agreement is not None}
        kl = {name: score.kl for name, score in scores.items() if score.kl is not None}
        if not agreement:
            return {}
        return {
            "agreement_by_language": dots("top-1 agreement with the teacher", agreement),
            "kl_by_language": dots("KL(teacher || student), nats", kl),
        }
