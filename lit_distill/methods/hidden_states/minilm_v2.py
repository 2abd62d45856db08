"""MiniLMv2: relations among queries, keys and values of one teacher layer (Wang et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any

import torch
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.knobs import Count, check_knobs, check_one_weighs
from lit_distill.losses import AccumulationWindow, Relation, Term, Visible, Weight, relation_kl
from lit_distill.methods.hidden_states._hidden_state_method import HiddenStateMethod
from lit_distill.models import (
    Hears,
    Projection,
    check_layer,
    check_same_causality,
    probe,
    projections,
)


class MiniLMv2(HiddenStateMethod):
    """Q-Q, K-K and V-V relations of the student's last layer learn those of one teacher layer.

        L = sum over X in (Q, K, V) of alpha_X  1 / A  sum over a of KL(R_T,a || R_S,a)
        R_a = softmax(X_a X_a' / sqrt(d))         mean over all real tokens (rows of R)

    X are the projections with all heads side by side, biases included and before any rotation,
    split again into A relation heads X_a of width d, each model's own; a head may be cut.

    Needs: a teacher with the student's tokenizer; relation heads that divide the widths of both.
    Numbers of layers, widths and attention heads are free, and so are shared keys and values.
    Data: `NoTargets` text.
    Relations: as many relation heads as attention heads compares head by head; `MiniLM` is the
    first version. Only embeddings, lower layers and the last layer's projections learn.

    Args:
        relation_heads: A (paper: 48 for teachers of width 768, 64 for 1024).
        teacher_layer: its number from 1; None is the last (paper: the last of 12; upper middle ones
            of 24, such as 19 of RoBERTa-large and XLM-R-large and 21 of BERT-large).
        alpha_query: weight of Q-Q (1; 0 leaves it out).
        alpha_key: weight of K-K (1).
        alpha_value: weight of V-V (1).
        base: see `Distillation`.

    Source: https://arxiv.org/abs/2012.15828, section 3, equations 5 to 8; the authors published
    models and no training code (microsoft/unilm@768a3c8, minilm).
    """

    hears = Hears.STATES

    def __init__(
        self,
        relation_heads: Count = 48,
        teacher_layer: Count | None = None,
        alpha_query: Weight = 1.0,
        alpha_key: Weight = 1.0,
        alpha_value: Weight = 1.0,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        check_knobs(MiniLMv2, locals())
        check_one_weighs(
            MiniLMv2, alpha_query=alpha_query, alpha_key=alpha_key, alpha_value=alpha_value
        )
        self.relation_heads, self.teacher_layer = relation_heads, teacher_layer
        weights: dict[Projection, Weight] = {
            "query": alpha_query,
            "key": alpha_key,
            "value": alpha_value,
        }
        self.weights = {kind: weight for kind, weight in weights.items() if weight != 0}

    def on_models_built(self) -> None:
        """Finds the layers; refuses what cannot be compared."""
        self._layer = check_layer(self.teacher, self.teacher_layer, "teacher_layer")
        self._last = check_layer(self.student, None, "layer")
        check_same_causality(self.student, self.teacher)
        ours = probe(self.student, self._last, list(self.weights))
        theirs = probe(self.teacher, self._layer, list(self.weights))
        for kind in self.weights:
            self._check_width(kind, ours[kind].shape[-1], theirs[kind].shape[-1])
        super().on_models_built()

    def _check_width(self, kind: str, ours: int, theirs: int) -> None:
        heads, common = self.relation_heads, gcd(ours, theirs)
        if heads < 1 or common % heads:
            divisors = [n for n in range(1, common + 1) if common % n == 0]
            raise UserError(
                f"relation_heads={heads} does not divide the widths of the {kind} projections, "
                f"{ours} (student) and {theirs} (teacher), into equal parts: "
                f"{min(divisors, key=lambda n: abs(n - heads))} would."
            )

    def probe_student(self) -> Sequence[Tensor]:
        """See `HiddenStateMethod`."""
        return list(probe(self.student, self._last, list(self.weights)).values())

    def counterparts(self) -> dict[int, int]:
        """See `HiddenStateMethod`."""
        return {self._last: self._layer}

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        """A term for each of query, key and value that has a weight."""
        kinds = list(self.weights)
        student = projections(self.student, batch, self._last, kinds)
        with torch.no_grad():
            teacher = projections(self.teacher, batch, self._layer, kinds)
        visible = Visible(
            batch["attention_mask"], batch.get("segments"), self.student.anatomy.causal
        )
        terms: dict[str, Term] = {}
        for kind, weight in self.weights.items():
            pair = Relation(student[kind]), Relation(teacher[kind])
            terms[kind] = Term(relation_kl(*pair, self.relation_heads, visible), "tokens", weight)
        return terms
