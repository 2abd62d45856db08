"""MiniLM: last-layer attention distributions and value relations (Wang et al., 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm
from typing import Any

import torch
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.knobs import check_knobs, check_one_weighs
from lit_distill.losses import AccumulationWindow, Relation, Term, Visible, Weight, relation_kl
from lit_distill.methods.hidden_states._hidden_state_method import HiddenStateMethod
from lit_distill.models import (
    Hears,
    LanguageModel,
    Projection,
    attention_heads,
    check_layer,
    check_same_causality,
    probe,
    projections,
    repeat_heads,
)


class MiniLM(HiddenStateMethod):
    """The last layer's attention and value relations learn those of the teacher's, head by head.

        L = alpha_attention 1/A sum over a of KL(R_T,a || R_S,a)   R_a = softmax(Q_a K_a' / sqrt(d))
          + alpha_value     1/A sum over a of KL(U_T,a || U_S,a)   U_a = softmax(V_a V_a' / sqrt(d))

    Both are means over all real tokens (rows); padding is hidden from both. d is the width of a
    head, each model's own.

    Needs: a teacher with the student's tokenizer and its number of attention heads; numbers of
    layers and widths are free.
    Data: `NoTargets` text.
    Relations: `MiniLMv2` frees the number of heads. Only embeddings, lower layers and the last
    layer's projections learn. Where a model rotates, normalises, caps or windows attention after
    projecting, R is what it would be without; shared keys and values count for every head.

    Args:
        alpha_attention: weight of the attention distributions (paper: 1; 0 leaves them out).
        alpha_value: weight of the value relations (1).
        base: see `Distillation`.

    Source: https://arxiv.org/abs/2002.10957, section 3, equations 4 to 8; masks on both relations
    by the author in microsoft/unilm, issue 198. The authors published no training code.
    """

    hears = Hears.STATES

    def __init__(
        self, alpha_attention: Weight = 1.0, alpha_value: Weight = 1.0, **base: Any
    ) -> None:
        super().__init__(**base)
        check_knobs(MiniLM, locals())
        check_one_weighs(MiniLM, alpha_attention=alpha_attention, alpha_value=alpha_value)
        weights = {"attention": alpha_attention, "value": alpha_value}
        self.weights = {name: weight for name, weight in weights.items() if weight != 0}
        reads: dict[str, list[Projection]] = {"attention": ["query", "key"], "value": ["value"]}
        self.kinds = [kind for name in self.weights for kind in reads[name]]

    def on_models_built(self) -> None:
        """Finds the last layers; refuses unequal heads."""
        self._layers = [check_layer(model, None, "layer") for model in (self.student, self.teacher)]
        check_same_causality(self.student, self.teacher)
        ours, theirs = attention_heads(self.student), attention_heads(self.teacher)
        if ours["query"] != theirs["query"]:
            raise UserError(
                f"The student has {ours['query']} attention heads and the teacher "
                f"{theirs['query']}: MiniLM compares head by head. Give the student "
                f"num_attention_heads={theirs['query']}, or use MiniLMv2, which needs no equal "
                "heads."
            )
        # Where both share keys and values, what is shared is compared once.
        values = lcm(ours["value"], theirs["value"])
        self._heads = {"attention": ours["query"], "value": values}
        super().on_models_built()

    def probe_student(self) -> Sequence[Tensor]:
        """See `HiddenStateMethod`."""
        return list(probe(self.student, self._layers[0], self.kinds).values())

    def counterparts(self) -> dict[int, int]:
        """See `HiddenStateMethod`."""
        return {self._layers[0]: self._layers[1]}

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        """The terms attention and value, where they have a weight."""
        ours = projections(self.student, batch, self._layers[0], self.kinds)
        with torch.no_grad():
            theirs = projections(self.teacher, batch, self._layers[1], self.kinds)
        student, teacher = self._sides(self.student, ours), self._sides(self.teacher, theirs)
        causal = self.student.anatomy.causal
        visible = Visible(batch["attention_mask"], batch.get("segments"), causal)
        terms = {}
        for name, weight in self.weights.items():
            kl = relation_kl(student[name], teacher[name], self._heads[name], visible)
            terms[name] = Term(kl, "tokens", weight)
        return terms

    def _sides(self, model: LanguageModel, found: dict[Projection, Tensor]) -> dict[str, Relation]:
        """One model's side of each relation, shared keys and values repeated."""
        heads, sides = attention_heads(model), {}
        if "attention" in self.weights:
            keys = repeat_heads(found["key"], heads["key"], self._heads["attention"])
            sides["attention"] = Relation(found["query"], keys)
        if "value" in self.weights:
            values = repeat_heads(found["value"], heads["value"], self._heads["value"])
            sides["value"] = Relation(values)
        return sides
