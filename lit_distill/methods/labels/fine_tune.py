"""Fine-tuning on a task, and task distillation (Clark et al., 2019; Che et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lit_distill.batch import LabelledBatch, Reading
from lit_distill.errors import UserError
from lit_distill.knobs import check_knobs
from lit_distill.losses import (
    AccumulationWindow,
    CrossEntropy,
    Divergence,
    HardLoss,
    SoftTarget,
    Term,
    Weight,
)
from lit_distill.methods.labels._task_terms import TaskTerms
from lit_distill.models import Hears, LiveTeachers, Predicted, teacher_view
from lit_distill.training.distillation import Distillation
from lit_distill.training.states.computed_projections import compute_projections
from lit_distill.training.states.state_terms import PairedStates, StateTerms


class FineTune(Distillation):
    """A head for a task on any encoder, from labels and from any sum of terms of a teacher.

        L = alpha_hard hard(z, label) + sum_k weight_k soft_k(z, z_teacher)     means over decisions
          + weight sum over pairs (i, j) of l(P_ij h_i, h_j^teacher)            means over tokens

    A decision is a text with its label, a labelled word, a choice among texts, an end of an answer,
    or a number. Without soft targets it is plain fine-tuning and needs no teacher; alpha_hard = 0
    learns from the teacher alone. Where batches have a view `teacher_`, the teacher reads that: the
    same text in another language (CLKD) or without its noise, cut by a tokenizer of its own.

    Needs: for soft targets a teacher with the data's labels, in the student's order; its vocabulary
    may be another where it reads a view of its own. A student without a head for the task gets one.
    Data: a `LabelledCorpus`.
    Relations: `SupervisedKD` on labels is one soft target; `SquaredError` with `LogitMSE` is
    regression.

    Args:
        hard: the loss of labels, or `SquaredError` of numbers.
        alpha_hard: its weight; `Ramp(0, 1)` beside `Ramp(1, 0)` of every soft target is the
            annealing of BAM and N-LTP: w = step / N.
        soft: terms of the teacher by name, which are logged as `train/<name>`.
        states: terms on hidden states, `state_<i>_<j>`, beside these; None: there are none.
        base: see `Distillation`.

    Source: annealing: BAM (Clark et al., 2019), https://arxiv.org/abs/1907.04829, section 3.3;
    N-LTP (Che et al., 2021), https://arxiv.org/abs/2009.11616, HIT-SCIR/ltp@0f43160,
    ltp/multitask_distill.py; views: CLKD (Gupta et al., 2023), https://arxiv.org/abs/2305.16302.
    """

    hears: Hears | None = Hears.TOP_K
    reads = (Reading.LABELS,)
    takes_view = True
    alone: ClassVar[Mapping[str, Any] | None] = {"soft": None, "alpha_hard": 1.0, "states": None}
    predicts = tuple(kind for kind in Predicted if kind != Predicted.TOKENS)

    def __init__(
        self,
        hard: HardLoss = CrossEntropy(),  # noqa: B008 (frozen)
        alpha_hard: Weight = 1.0,
        soft: dict[str, SoftTarget] | None = None,
        states: StateTerms | None = None,
        **base: Any,
    ) -> None:
        self.soft = {name: one for name, one in (soft or {}).items() if one.weight != 0}
        couples = TaskTerms(soft=self.soft).couples
        self.couples = (*couples, *(states.couples if states else ()))
        wanted = Hears.LOGITS if couples else Hears.TOP_K
        self.hears = Hears.STATES if states else wanted if self.soft else None
        super().__init__(**base)
        check_knobs(FineTune, locals())
        self.terms = TaskTerms(hard, alpha_hard, soft or {}).weighed(FineTune)
        self.states = states
        self.paired: PairedStates | None = None  # once there are models

    def on_models_built(self) -> None:
        """Pairs states; refuses losses that the task or several teachers have no logits for."""
        if self.states is not None:
            if self.ensemble.others:
                raise UserError(
                    "model.states compares with one teacher, and model.ensemble names "
                    f"{', '.join(self.ensemble.others)} too: leave it out."
                )
            self.paired = self.states.between(self.student, self.teacher, self.auxiliary)
        kind = self.student.anatomy.predicts
        self.terms.check(kind)
        if not kind.labelled and self.soft and not isinstance(self.cast.source, LiveTeachers):
            raise UserError(
                f"The student predicts {kind.value}, about which recorded teachers say nothing: "
                "let the teacher run (leave model.teacher_cache and model.teacher_source out)."
            )
        compared = [
            name
            for name, one in self.soft.items()
            if not (kind.labelled and isinstance(one.loss, Divergence))
        ]
        if len(self.teachers) > 1 and compared and self.ensemble.combine != "logits":
            raise UserError(
                f"{compared[0]} compares logits, and several teachers have common ones only with "
                "model.ensemble.combine=logits: set it, or use divergences of labels."
            )

    def on_fit_start(self) -> None:
        """Computes projections that are not trained."""
        super().on_fit_start()
        if self.paired is not None:
            compute_projections(self.paired, self)

    def losses(self, batch: LabelledBatch, window: AccumulationWindow) -> dict[str, Term]:
        """The terms hard, those of `soft` and those on states, each where it has a weight."""
        view, paired = teacher_view(batch), self.paired
        if paired is not None and all(window.leaves_out(name) for name in paired.names):
            paired = None
        ours, theirs = (paired.student_sites, paired.teacher_sites) if paired else ((), ())
        student = self.student.encode(batch, capture=ours)
        taught = paired or not all(window.leaves_out(name) for name in self.soft)
        teacher = self.teach(batch, theirs, view) if taught else None
        terms = self.terms.of(self.student, batch, window, student, teacher)
        if paired and teacher:
            if view:
                raise UserError(
                    "The teacher reads a view of its own, whose positions are not the student's: "
                    "their states cannot be compared. Leave model.states out, or the view."
                )
            terms |= paired.of(batch, student, teacher, over_ranks=self.training)
        return terms
