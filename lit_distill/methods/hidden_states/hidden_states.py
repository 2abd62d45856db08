"""Hidden states of mapped layers, and their attention: LightMBERT, TinyBERT, BiStil phase 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.knobs import check_knobs, check_one_weighs
from lit_distill.losses import (
    AccumulationWindow,
    CoupledStateLoss,
    StateLoss,
    StateMSE,
    Term,
    Weight,
)
from lit_distill.methods.hidden_states._hidden_state_method import HiddenStateMethod
from lit_distill.models import Hears, Site
from lit_distill.training.states.attention_terms import AttentionTerms, PairedAttention
from lit_distill.training.states.computed_projections import check_computed, compute_projections
from lit_distill.training.states.layer_maps import LayerMap, Uniform
from lit_distill.training.states.projections import StateProjection
from lit_distill.training.states.state_terms import PairedStates, StateTerms


class HiddenStates(HiddenStateMethod):
    """States of the student learn those of the teacher that a layer map pairs them with.

        L = alpha_states sum over pairs (i, j) of l(P_ij h_i^S, h_j^T)   each a mean over all real
                                                                         tokens
          + attention.weight sum over pairs of layers of their attention's distance

    h_0 are the embeddings, h_k the output of the k-th layer, and the last is what a head reads (of
    decoders behind the final norm). l is an average over the width.

    Needs: a teacher with the student's tokenizer, and its width where there is no projection.
    Data: `NoTargets` text.
    Relations: `MiniLMv2` compares relations, which need no projection and leave the states free.
    What no state reaches (layers above the highest mapped one, the head) is not trained.

    Args:
        layer_map: which state learns from which.
        projection: what one model's states pass before they are compared; None: nothing. A
            `PCAProjection` narrows the teacher's: l(h_i^S, P_j h_j^T).
        loss: l; `MutualInformation` compares the texts of a batch with each other instead.
        embeddings: whether h_0 learns the teacher's h_0, beside what the map pairs.
        alpha_states: weight of every pair.
        attention: what is compared of the attention of paired layers; None: nothing.
        base: see `Distillation`.

    Source: LightMBERT (https://arxiv.org/abs/2103.06418) for the sum over a uniform map; sums, maps
    and a projection per layer compared by Udagawa et al. (https://arxiv.org/abs/2310.08797). Codes
    that we read average over padding, too; ours never does.
    """

    hears = Hears.STATES

    def __init__(
        self,
        layer_map: LayerMap = Uniform(),  # noqa: B008 (frozen)
        projection: StateProjection | None = None,
        loss: StateLoss | CoupledStateLoss = StateMSE(),  # noqa: B008 (frozen)
        embeddings: bool = False,
        alpha_states: Weight = 1.0,
        attention: AttentionTerms | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        check_knobs(HiddenStates, locals())
        check_one_weighs(HiddenStates, alpha_states=alpha_states)
        self.state_terms = StateTerms(layer_map, projection, loss, embeddings, alpha_states)
        self.couples = self.state_terms.couples
        self.attention_terms = attention if attention and attention.weight != 0 else None
        self.states: PairedStates  # once there are models
        self.attention: PairedAttention | None = None

    def on_models_built(self) -> None:
        """Pairs states and layers; makes the projections; refuses what cannot be compared."""
        self.states = self.state_terms.between(self.student, self.teacher, self.auxiliary)
        if self.attention_terms is not None:
            models = self.student, self.teacher
            self.attention = self.attention_terms.between(*models, self.states.pairs)
        super().on_models_built()

    def on_fit_start(self) -> None:
        """Computes projections that are not trained."""
        super().on_fit_start()
        compute_projections(self.states, self)

    def on_validation_epoch_start(self) -> None:
        """Refuses projections that nothing has computed: those of a start."""
        check_computed(self.states)
        super().on_validation_epoch_start()

    on_test_epoch_start = on_validation_epoch_start

    def probe_student(self) -> Sequence[Tensor]:
        """See `HiddenStateMethod`."""
        ids = torch.zeros(1, 2, dtype=torch.int64, device=next(self.student.parameters()).device)
        tiny = Batch(input_ids=ids, attention_mask=torch.ones_like(ids))
        student = self.student.encode(tiny, capture=self.student_sites)
        return [*self.states.states(student), *student.captured.values()]

    @property
    def student_sites(self) -> list[Site]:
        """What the student is to capture."""
        return [
            *self.states.student_sites,
            *(self.attention.student_sites if self.attention else ()),
        ]

    def counterparts(self) -> dict[int, int]:
        """See `HiddenStateMethod`."""
        attention = self.attention.pairs if self.attention else ()
        pairs = (*attention, *self.states.pairs)
        return {own - 1: other - 1 for own, other in pairs if own and other}

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        """A term for every pair; the teacher runs first, before the student's graph is there."""
        attention = self.attention
        sites = [*self.states.teacher_sites, *(attention.teacher_sites if attention else ())]
        teacher = self.teach(batch, sites)
        student = self.student.encode(batch, capture=self.student_sites)
        of_attention = attention.of(batch, student, teacher) if attention else {}
        of_states = self.states.of(batch, student, teacher, over_ranks=self.training)
        return {**of_states, **of_attention}
