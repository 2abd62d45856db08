"""Terms on the attention of layers that a layer map pairs, beside the terms on their states.

Attention is made of captured queries and keys, block by block, in the loss alone: both models keep
their fused kernels, and no tensor (B, A, T, T) ever exists.

Shapes: B sequences, T positions, A attention heads, d width of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.knobs import check_knobs
from lit_distill.losses import Relation, Term, Visible, Weight, relation_kl, relation_mse
from lit_distill.models import (
    Encoded,
    LanguageModel,
    Projection,
    Site,
    TeacherOutputs,
    attention_heads,
    check_layer,
    check_same_causality,
    repeat_heads,
)
from lit_distill.training.states.layer_maps import LayerMap, Pair

Compared = Callable[[Relation, Relation, int, Visible], Tensor]


@dataclass(frozen=True)
class AttentionTerms:
    """What is compared of the attention of paired layers, head by head.

        MSE  1/N sum over t of 1/(A |V_t|) sum over heads and u in V_t of (x_tu^S - x_tu^T)^2
        KL   1/N sum over t of 1/A sum over heads of KL(p_t^T || p_t^S)

    x are the scores q_t k_u' / sqrt(d), d each model's own, or p, their softmax over V_t; V_t are
    the keys that position t looks at (real ones, of its own text, of decoders not later than t),
    and t runs over the N real tokens. For texts of one length that is the mean over all pairs that
    papers write; a longer text weighs by its tokens, not by their square.

    Where a model rotates, normalises, scales, caps or windows attention after projecting, x is what
    it would be without; dropout has no part. Shared keys count for every head.

    Attributes:
        compare: x.
        loss: "mse", or of probabilities "kl".
        layer_map: pairs of layers, from 1; None: the pairs of states, without the embeddings'.
        weight: of every pair; 0 leaves attention out.

    Source: TinyBERT (https://arxiv.org/abs/1909.10351), section 3, for scores; BiStil
    (AlanAnsell/bistil at bfa70e5, src/sft/distil.py) for probabilities and both losses; masks of
    rows and columns as TextBrewer's att_mse_loss (airaria/TextBrewer at 3496f3e), over sum T^2.

    Raises:
        UserError: KL of scores.
    """

    compare: Literal["probabilities", "scores"] = "probabilities"
    loss: Literal["mse", "kl"] = "mse"
    layer_map: LayerMap | None = None
    weight: Weight = 1.0

    def __post_init__(self) -> None:
        check_knobs(AttentionTerms, vars(self))
        if (self.compare, self.loss) == ("scores", "kl"):
            raise UserError(
                "AttentionTerms: loss is kl and compare is scores, which are no distributions: "
                "compare probabilities, or take mse."
            )

    def between(
        self, student: LanguageModel, teacher: LanguageModel, states: Sequence[Pair]
    ) -> PairedAttention:
        """These terms of two models.

        Args:
            student: whose attention learns.
            teacher: whose attention it learns.
            states: pairs of states, for where there is no map.

        Raises:
            UserError: heads are unequal, or there is no such layer.
        """
        ours, theirs = (check_layer(model, None, "layer") + 1 for model in (student, teacher))
        check_same_causality(student, teacher)
        heads = attention_heads(student), attention_heads(teacher)
        if heads[0]["query"] != heads[1]["query"]:
            raise UserError(
                f"Attention is compared head by head: the student has {heads[0]['query']} heads in "
                f"a layer and the teacher {heads[1]['query']}. Give the student as many "
                "(FreshStudent: config.num_attention_heads), set model.attention to null, or "
                "compare relations with MiniLMv2, which frees the number of heads."
            )
        return PairedAttention(self, self._pairs(ours, theirs, states), *heads, student)

    def _pairs(self, student: int, teacher: int, states: Sequence[Pair]) -> list[Pair]:
        if self.layer_map is None:
            pairs = [(own, other) for own, other in states if own and other]
        else:
            pairs = self.layer_map.pairs(student, teacher)
        if not pairs or not all(own and other for own, other in pairs):
            raise UserError(
                "model.attention pairs no layers, or a layer 0: states count from the embeddings, "
                "0, which attend to nothing, and layers from 1. Give model.attention.layer_map "
                "pairs of layers."
            )
        return pairs


@dataclass(frozen=True)
class PairedAttention:
    """Terms of two models whose layers are paired.

    Attributes:
        terms: what is compared, and how.
        pairs: of layers, from 1, in order.
        our_heads: of the student's projections.
        their_heads: of the teacher's.
        student: for what its positions see.
    """

    terms: AttentionTerms
    pairs: Sequence[Pair]
    our_heads: Mapping[Projection, int]
    their_heads: Mapping[Projection, int]
    student: LanguageModel

    @property
    def student_sites(self) -> list[Site]:
        """What the student is to capture."""
        return [site for own in dict.fromkeys(o for o, _ in self.pairs) for site in _sites(own)]

    @property
    def teacher_sites(self) -> list[Site]:
        """What the teacher is to capture."""
        return [site for other in dict.fromkeys(o for _, o in self.pairs) for site in _sites(other)]

    def of(self, batch: Batch, student: Encoded, teacher: TeacherOutputs) -> dict[str, Term]:
        """A term for every pair; the teacher's tensors are freed when their last pair is done.

        Args:
            batch: that both read.
            student: with what `student_sites` names.
            teacher: likewise; it hands them over.
        """
        causal = self.student.anatomy.causal
        visible = Visible(batch["attention_mask"], batch.get("segments"), causal)
        last = {other: place for place, (_, other) in enumerate(self.pairs)}
        heads, terms = self.our_heads["query"], dict[str, Term]()
        heard = dict[int, list[tuple[float, Relation]]]()
        for place, (own, other) in enumerate(self.pairs):
            mine = _relation([student.captured[site] for site in _sites(own)], self.our_heads)
            if other not in heard:
                heard[other] = self._heard(teacher, other)
            parts = heard[other] if place < last[other] else heard.pop(other)
            values = [share * self._compared(mine, its, heads, visible) for share, its in parts]
            sum_ = torch.stack(values).sum()
            terms[f"attention_{own}_{other}"] = Term(sum_, "tokens", self.terms.weight)
        return terms

    def _heard(self, teacher: TeacherOutputs, layer: int) -> list[tuple[float, Relation]]:
        """Weight and relation of each teacher in a layer."""
        queries, keys = (teacher.hand_over(site) for site in _sites(layer))
        return [
            (share, _relation([query, key], self.their_heads))
            for (share, query), (_, key) in zip(queries, keys, strict=True)
        ]

    @property
    def _compared(self) -> Compared:
        if self.terms.loss == "kl":
            return relation_kl
        return partial(relation_mse, of=self.terms.compare)


def _sites(layer: int) -> tuple[Site, Site]:
    """Where queries and keys of a layer (from 1) lie."""
    return Site("query", layer - 1), Site("key", layer - 1)


def _relation(found: Sequence[Tensor], heads: Mapping[Projection, int]) -> Relation:
    """Queries and keys, (B, T, A x d) each: shared keys are repeated."""
    queries, keys = found
    return Relation(queries, repeat_heads(keys, heads["key"], heads["query"]))
