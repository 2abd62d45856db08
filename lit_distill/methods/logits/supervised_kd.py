"""Logit distillation on given text, by any divergence (Hinton, 2015; Agarwal et al., 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lit_distill.batch import Batch, Reading
from lit_distill.knobs import check_knobs, check_one_weighs
from lit_distill.losses import (
    AccumulationWindow,
    CrossEntropy,
    Divergence,
    ForwardKL,
    HardTargetLoss,
    LogitTerm,
    Term,
    Weight,
)
from lit_distill.models import Hears
from lit_distill.training.distillation import Distillation
from lit_distill.training.logit_terms import logit_terms


class SupervisedKD(Distillation):
    """The teacher's distributions at the tokens that the text asks for, and its own tokens.

        L = alpha_kd   D(p || q)           mean over the rows with a target
          + alpha_hard CE(q, target)       mean over the same rows

    D is any `Divergence`; forward KL is the soft-target loss, and with alpha_hard = 0 GKD's
    "supervised KD". Only the rows with a target are projected: masked tokens of an encoder, tokens
    that have a next one of a decoder, texts with a label of a classifier.

    Needs: a teacher with the student's vocabulary or labels; widths may differ. With alpha_kd = 0
    none: then it is plain fine-tuning.
    Data: `MaskedTokens` for encoders, `NextToken` for decoders, a `LabelledCorpus` for classifiers.
    Relations: `TripleLoss` with restrict_kd_to_mask and alpha_cos = 0 at ForwardKL(2); `MaskedLM`
    or `CausalLM` with alpha_kd = 0; GKD adds text of the student's own.

    Args:
        divergence: D, with its temperature (GKD: 1, without T^2).
        alpha_kd: weight of the divergence; 0 leaves it out, and the teacher with it.
        alpha_hard: weight of the hard targets; 0 leaves them out.
        hard: the loss of hard targets: cross-entropy, smoothed, focal, or symmetric.
        base: see `Distillation`.

    Source: https://arxiv.org/abs/1503.02531, section 2; https://arxiv.org/abs/2306.13649, section 3
    ("supervised KD").
    """

    hears: Hears | None = Hears.TOP_K
    reads = (Reading.MASKED, Reading.NEXT, Reading.RESPONSES, Reading.LABELS)
    alone: ClassVar[Mapping[str, Any]] = {"alpha_kd": 0.0, "alpha_hard": 1.0}

    def __init__(
        self,
        divergence: Divergence = ForwardKL(),  # noqa: B008 (frozen)
        alpha_kd: Weight = 1.0,
        alpha_hard: Weight = 0.0,
        hard: HardTargetLoss = CrossEntropy(),  # noqa: B008 (frozen)
        **base: Any,
    ) -> None:
        self.hears = Hears.TOP_K if alpha_kd != 0 else None
        super().__init__(**base)
        check_knobs(SupervisedKD, locals())
        check_one_weighs(SupervisedKD, alpha_kd=alpha_kd, alpha_hard=alpha_hard)
        self.divergence, self.hard = divergence, hard
        self.alpha_kd, self.alpha_hard = alpha_kd, alpha_hard

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        """The terms kd and hard, each where it has a weight."""
        student = self.student.encode(batch)
        teacher = None if self.alpha_kd == 0 else self.teach(batch)
        terms = {
            "kd": LogitTerm(self.divergence, "rows", self.alpha_kd),
            "hard": LogitTerm(self.hard, "rows", self.alpha_hard),
        }
        terms = {name: term for name, term in terms.items() if term.weight != 0}
        return logit_terms(
            self.student, terms, window, batch["rows"], batch["targets"], student, teacher
        )
