"""DistilBERT: a triple loss over masked-LM pre-training (Sanh et al., 2019)."""

from __future__ import annotations

from typing import Any

import torch

from lit_distill.batch import Batch, Reading, row_targets
from lit_distill.errors import UserError
from lit_distill.knobs import Temperature, check_knobs, check_one_weighs
from lit_distill.losses import (
    AccumulationWindow,
    CrossEntropy,
    ForwardKL,
    LogitMSE,
    LogitTerm,
    Term,
    Weight,
    cosine,
)
from lit_distill.models import Hears
from lit_distill.training.distillation import Distillation
from lit_distill.training.logit_terms import logit_terms


class TripleLoss(Distillation):
    """Soft targets, masked-LM and cosine of the last hidden states, on the same masked input.

        L = alpha_kd  T^2 KL(p_T || q_T)          mean over all real (or only masked) tokens
          + alpha_mlm CE(q_1, target)             mean over masked tokens (decoders: over all that
                                                  have a next one; DistilGPT2's alpha_clm)
          + alpha_cos [1 - cos(h_student, h_teacher)]   mean over all real tokens
          + alpha_mse ||z_student - z_teacher||^2       mean over the rows of the first term

    Needs: a teacher with the student's vocabulary, and its hidden size where alpha_cos > 0.
    Data: `MaskedTokens` for encoders, `NextToken` for decoders.
    Relations: alpha_mlm = alpha_cos = 0 is plain logit distillation; alpha_kd = alpha_cos = 0 is
    `MaskedLM` or `CausalLM`.

    Args:
        temperature: T of the first term, > 0 (paper: 2).
        alpha_kd: weight of the soft targets (authors' script: 5.0).
        alpha_mlm: weight of the masked-LM or next-token term (2.0).
        alpha_cos: weight of the cosine term (1.0).
        alpha_mse: weight of the squared error of logits (0.0).
        restrict_kd_to_mask: soft targets only where the second term has its own: 6.7 times fewer
            rows of an encoder to project (authors' script: off).
        base: see `Distillation`.

    Source: https://arxiv.org/abs/1910.01108, section 3; authors' code: huggingface
    transformers-research-projects@fccd0cd, distillation/distiller.py (their "CE" is a KL).
    """

    hears = Hears.TOP_K
    reads = (Reading.MASKED, Reading.NEXT, Reading.RESPONSES)

    def __init__(
        self,
        temperature: Temperature = 2.0,
        alpha_kd: Weight = 5.0,
        alpha_mlm: Weight = 2.0,
        alpha_cos: Weight = 1.0,
        alpha_mse: Weight = 0.0,
        restrict_kd_to_mask: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        check_knobs(TripleLoss, locals())
        check_one_weighs(
            TripleLoss,
            alpha_kd=alpha_kd,
            alpha_mlm=alpha_mlm,
            alpha_cos=alpha_cos,
            alpha_mse=alpha_mse,
        )
        self.soft = ForwardKL(temperature, t_squared=True)
        self.alpha_kd, self.alpha_mlm = alpha_kd, alpha_mlm
        self.alpha_cos, self.alpha_mse = alpha_cos, alpha_mse
        self.restrict_kd_to_mask = restrict_kd_to_mask

    @property
    def hard(self) -> str:
        """The name of the term with hard targets."""
        return "clm" if self.student.anatomy.causal else "mlm"

    def on_models_built(self) -> None:
        """Refuses teachers whose states or logits cannot be compared."""
        widths = {name: model.hidden_size for name, model in self.cast.teacher_models.items()}
        for name, width in widths.items() if self.alpha_cos != 0 else ():
            if width != self.student.hidden_size:
                raise UserError(
                    f"The student's states are {self.student.hidden_size} wide and those of "
                    f"{name} {width}: their cosine does not exist. Set model.alpha_cos to 0."
                )
        if self.alpha_mse != 0 and len(widths) > 1 and self.ensemble.combine != "logits":
            raise UserError(
                "alpha_mse compares logits, and several teachers have common ones only with "
                "model.ensemble.combine=logits: set it, or model.alpha_mse to 0."
            )

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        """The terms kd, mlm (clm for decoders), cos and, where it has a weight, mse."""
        student, teacher = self.student.encode(batch), self.teach(batch)
        rows, per = batch["tokens"], "tokens"
        if self.restrict_kd_to_mask:
            rows, per = batch["rows"], "rows"
        asked = {
            "kd": LogitTerm(self.soft, per, self.alpha_kd),
            self.hard: LogitTerm(CrossEntropy(), "rows", self.alpha_mlm),
            "mse": LogitTerm(LogitMSE(), per, self.alpha_mse),
        }
        if self.alpha_mse == 0:
            del asked["mse"]
        terms = logit_terms(
            self.student, asked, window, rows, row_targets(batch, rows), student, teacher
        )
        if self.alpha_cos != 0:
            states = student.rows(batch["tokens"])
            parts = [share * cosine(states, its) for share, its in teacher.states(batch["tokens"])]
            terms["cos"] = Term(torch.stack(parts).sum(), "tokens", self.alpha_cos)
        return terms
