"""Masked language modelling without a teacher (Devlin et al., 2019)."""

from __future__ import annotations

from typing import Any

from lit_distill.batch import Batch, Reading
from lit_distill.knobs import CountOrNone, check_knobs
from lit_distill.losses import AccumulationWindow, CrossEntropy, LogitTerm, Term
from lit_distill.models import freeze_body
from lit_distill.training.distillation import Distillation
from lit_distill.training.logit_terms import logit_terms


class MaskedLM(Distillation):
    """Cross-entropy on masked tokens: trains teachers, continues pre-training, is the control.

        L = CE(q, target)      mean over masked tokens

    Needs: nothing; a teacher, if given, only carves the student and is compared with it.
    Data: any masked objective (`MaskedTokens`).
    Relations: `TripleLoss` with alpha_kd = alpha_cos = 0.

    Args:
        freeze_body: train the language-model head only: the head fit by which students of methods
            that train none (`MiniLM`, `MiniLMv2`) are measured. A decoder that is tied to the
            embeddings is body; its transform and bias are head.
        top_layers: with freeze_body, highest layers that are trained all the same; 1 fits what
            MiniLM leaves untrained of its last layer, too.
        base: see `Distillation`.

    Source: https://arxiv.org/abs/1810.04805, section 3.1, task 1.
    """

    reads = (Reading.MASKED,)

    def __init__(self, freeze_body: bool = False, top_layers: CountOrNone = 0, **base: Any) -> None:
        super().__init__(**base)
        check_knobs(MaskedLM, locals())
        self.freeze_body, self.top_layers = freeze_body, top_layers

    def on_models_built(self) -> None:
        """Freezes what is not to be trained."""
        if self.freeze_body:
            freeze_body(self.student, self.top_layers)
            more = f" and the highest {self.top_layers} layers" if self.top_layers else ""
            self.notes = [f"head fit: the language-model head{more} trained on a frozen body"]

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        """The single term mlm."""
        student = self.student.encode(batch)
        terms = {"mlm": LogitTerm(CrossEntropy(), "rows")}
        return logit_terms(self.student, terms, window, batch["rows"], batch["targets"], student)
