"""Output distributions of masked or next tokens, and nothing else (Udagawa et al., 2023)."""

from __future__ import annotations

from typing import Any, Literal

from lit_distill.batch import Batch, Reading
from lit_distill.knobs import check_knobs
from lit_distill.losses import AccumulationWindow, Divergence, ForwardKL, LogitTerm, Term
from lit_distill.models import Hears
from lit_distill.training.distillation import Distillation
from lit_distill.training.logit_terms import logit_terms


class OutputDistribution(Distillation):
    """What the teacher says that a token is: OD, the plainest of three families of distillation.

        L = D(p || q)     mean over the tokens that are asked about, or over all real tokens

    D is any `Divergence`. Nothing inside of the models is compared, so widths, depths and
    architectures are free, and no target of the data is read.

    Needs: a teacher with the student's vocabulary.
    Data: `MaskedTokens` for encoders, `NextToken` for decoders.
    Relations: `TripleLoss` with alpha_mlm = alpha_cos = 0; `SupervisedKD`, whose rows are those
    with a target, with alpha_hard = 0. `HiddenStates` (HS) and `MiniLMv2` (MHA) are the two other
    families.

    Args:
        divergence: D, with its temperature.
        positions: "asked": masked tokens of an encoder, tokens of a decoder that have a next one;
            "all": every real token, those that an encoder sees unmasked, too, as DistilBERT's code.
        base: see `Distillation`.

    Source: https://arxiv.org/abs/2310.08797, where OD is compared with HS and MHA; the authors
    published no code.
    """

    hears = Hears.TOP_K
    reads = (Reading.MASKED, Reading.NEXT, Reading.RESPONSES)

    def __init__(
        self,
        divergence: Divergence = ForwardKL(),  # noqa: B008 (frozen)
        positions: Literal["asked", "all"] = "asked",
        **base: Any,
    ) -> None:
        super().__init__(**base)
        check_knobs(OutputDistribution, locals())
        self.divergence, self.positions = divergence, positions

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        """The term kd."""
        student, teacher = self.student.encode(batch), self.teach(batch)
        asked = self.positions == "asked"
        rows, per = (batch["rows"], "rows") if asked else (batch["tokens"], "tokens")
        terms = {"kd": LogitTerm(self.divergence, per)}
        return logit_terms(self.student, terms, window, rows, None, student, teacher)
