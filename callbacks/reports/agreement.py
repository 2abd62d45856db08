"""How close the student is to its teacher on each language and mix."""

from __future__ import annotations

from callbacks.reports.score_report import ScoreReport
from lit_distill.measures import MetricSpec


class TeacherAgreement(ScoreReport):
    """What compares student and teacher, by language, after each validation and test.

    Of language models: top-1 agreement, the share of selected rows on which both put the same token
    first; KL(teacher || student) in nats per row at temperature 1; the teacher's own loss.
    Scalars: `val/agreement`, `val/kl` and `val/teacher_loss` (means over languages), and each of
    them of every language, as `val/<language>/agreement`.
    Figures: agreement and KL of each language.

    Without a teacher nothing is shown. Other measures have other metrics: see `measured_by` of the
    method.

    Args:
        rows: see `ScoreReport`.
    """

    def shows(self, metric: MetricSpec) -> bool:
        """Whether it compares with the teacher."""
        return metric.compares
