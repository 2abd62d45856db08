"""Causal language modelling without a teacher (Radford et al., 2018)."""

from __future__ import annotations

from lit_distill.batch import Batch, Reading
from lit_distill.losses import AccumulationWindow, CrossEntropy, LogitTerm, Term
from lit_distill.training.distillation import Distillation
from lit_distill.training.logit_terms import logit_terms


class CausalLM(Distillation):
    """Cross-entropy of the next token: trains decoders, and is their no-teacher control.

        L = CE(q, next token)      mean over all tokens that have a next one in their text

    Needs: nothing; a teacher, if given, only carves the student and is compared with it.
    Data: the objective `NextToken`.
    Relations: what `MaskedLM` is to encoders; `TripleLoss` with alpha_kd = alpha_cos = 0.

    Source: Radford, Narasimhan, Salimans, Sutskever, "Improving language understanding by
    generative pre-training", 2018, equation 1.
    """

    reads = (Reading.NEXT, Reading.RESPONSES)

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        """The single term clm."""
        student = self.student.encode(batch)
        terms = {"clm": LogitTerm(CrossEntropy(), "rows")}
        return logit_terms(self.student, terms, window, batch["rows"], batch["targets"], student)
