"""Masked language modelling without a teacher (Devlin et al., 2019)."""

from __future__ import annotations

from lit_distill.batch import Batch
from lit_distill.distillation import Distillation
from lit_distill.losses import CrossEntropy, LogitTerm, Term


class MaskedLM(Distillation):
    """Cross-entropy on masked tokens: trains teachers, continues pre-training, is the control.

        L = CE(q, target)      mean over masked tokens

    Needs: nothing; a teacher, if given, only carves the student and is compared with it.
    Data: any masked objective (`MaskedTokens`).
    Relations: `TripleLoss` with alpha_ce = alpha_cos = 0.

    Source: https://arxiv.org/abs/1810.04805, section 3.1, task 1.
    """

    def losses(self, batch: Batch) -> dict[str, Term]:
        """The single term mlm."""
        student = self.student.encode(batch)
        terms = {"mlm": LogitTerm(CrossEntropy(), "rows")}
        return self.logit_terms(terms, batch["rows"], batch["targets"], student)
