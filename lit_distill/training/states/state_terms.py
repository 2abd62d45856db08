"""Terms on hidden states that a layer map pairs, for any method whose teacher lets itself be read.

Shapes: B sequences, T positions, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lit_distill.batch import Batch, read_ids
from lit_distill.errors import UserError
from lit_distill.knobs import check_knobs
from lit_distill.losses import CoupledStateLoss, StateLoss, StateMSE, Term, Texts, Weight
from lit_distill.models import (
    Encoded,
    LanguageModel,
    Site,
    TeacherOutputs,
    check_layer,
    check_same_causality,
)
from lit_distill.training.states.layer_maps import LayerMap, Pair, Uniform
from lit_distill.training.states.projections import StateProjection


@dataclass(frozen=True)
class StateTerms:
    """What is compared of hidden states, and how.

    Attributes:
        layer_map: which state learns from which.
        projection: what one model's states pass before they are compared; None: nothing.
        loss: of a row of each, an average over the width; or of all texts of a batch.
        embeddings: whether state 0 learns the teacher's state 0, beside what the map pairs.
        weight: of every pair.
        tokens: whose states are compared: of "all" real tokens, or of the "first" of each text,
            which classifiers of texts read.
    """

    layer_map: LayerMap = Uniform()  # noqa: RUF009 (frozen)
    projection: StateProjection | None = None
    loss: StateLoss | CoupledStateLoss = StateMSE()  # noqa: RUF009 (frozen)
    embeddings: bool = False
    weight: Weight = 1.0
    tokens: Literal["all", "first"] = "all"

    def __post_init__(self) -> None:
        check_knobs(StateTerms, vars(self))
        if self.couples and self.tokens == "first":
            raise UserError(
                f"{self.couples[0]} says itself what it compares of a text, and tokens is first: "
                "leave tokens out, or take a loss of single states."
            )

    @property
    def couples(self) -> tuple[str, ...]:
        """What compares the texts of a batch: `Method.couples` of who holds these terms."""
        coupled = isinstance(self.loss, CoupledStateLoss)
        return (type(self.loss).__name__,) if coupled else ()

    def positions(self, batch: Batch) -> tuple[Tensor, str]:
        """Flat positions of the states that are compared, and the count of them in a batch."""
        if self.tokens == "all":
            return batch["tokens"], "tokens"
        texts, width = read_ids(batch).shape
        return torch.arange(texts, device=batch["tokens"].device) * width, "sequences"

    def between(
        self, student: LanguageModel, teacher: LanguageModel, auxiliary: nn.ModuleDict
    ) -> PairedStates:
        """These terms of two models.

        Args:
            student: whose states learn.
            teacher: whose states they learn.
            auxiliary: gets the projections, and what a loss trains.

        Raises:
            UserError: the states cannot be compared, or the map does not fit.
        """
        ours, theirs = (check_layer(model, None, "layer") + 1 for model in (student, teacher))
        check_same_causality(student, teacher)
        if self.tokens == "first" and student.anatomy.causal:
            raise UserError(
                "The states of first tokens are compared (tokens), and the first token of a "
                "decoder has read nothing of its text: set tokens to all."
            )
        first = {(0, 0)} if self.embeddings else set()
        pairs = sorted({*first, *self.layer_map.pairs(ours, theirs)})
        widths = student.hidden_size, teacher.hidden_size
        if self.projection is not None:
            for name in dict.fromkeys(map(self.projection.name, pairs)):
                auxiliary[name] = self.projection.build(*widths)
            widths = (widths[not self.projection.of_teacher],) * 2
        elif widths[0] != widths[1] and not self.couples:
            raise UserError(
                f"The student's states are {widths[0]} wide and the teacher's {widths[1]}, and "
                "their projection is null: give it a LinearProjection."
            )
        if isinstance(self.loss, CoupledStateLoss):
            self.loss.check(student.anatomy.causal)
            for pair in pairs:
                auxiliary[_name_of_loss(pair)] = self.loss.build(*widths)
        return PairedStates(
            self,
            pairs,
            {own: state_site(student, own) for own, _ in pairs},
            {other: state_site(teacher, other) for _, other in pairs},
            auxiliary,
        )


@dataclass(frozen=True)
class PairedStates:
    """Terms of two models whose states are paired.

    Attributes:
        terms: what is compared, and how.
        pairs: of states, in order.
        ours: where the student's lie; None: what its head reads.
        theirs: likewise, of the teacher.
        auxiliary: with the projections, and what a loss trains.
    """

    terms: StateTerms
    pairs: Sequence[Pair]
    ours: dict[int, Site | None]
    theirs: dict[int, Site | None]
    auxiliary: nn.ModuleDict

    @property
    def names(self) -> list[str]:
        """Of the terms, one for every pair."""
        return [f"state_{own}_{other}" for own, other in self.pairs]

    @property
    def student_sites(self) -> list[Site]:
        """What the student is to capture."""
        return [site for site in self.ours.values() if site]

    @property
    def teacher_sites(self) -> list[Site]:
        """What the teacher is to capture."""
        return [site for site in self.theirs.values() if site]

    def states(self, student: Encoded) -> list[Tensor]:
        """The student's states (B, T, D) that are read, each once."""
        sites = self.ours.values()
        return [student.captured[site] if site else student.hidden for site in sites]

    def of(
        self, batch: Batch, student: Encoded, teacher: TeacherOutputs, over_ranks: bool = False
    ) -> dict[str, Term]:
        """A term for every pair.

        A pair that couples no texts is computed again in the backward pass: until then nothing is
        kept but the states.

        Args:
            batch: that both read.
            student: with what `student_sites` names.
            teacher: likewise.
            over_ranks: whether losses that couple texts compare those of all ranks, as in training.
        """
        coupled = self.terms.loss if isinstance(self.terms.loss, CoupledStateLoss) else None
        texts = Texts.of(batch, over_ranks) if coupled else None
        tokens, per = self.terms.positions(batch)
        terms = dict[str, Term]()
        for name, (own, other) in zip(self.names, self.pairs, strict=True):
            pair = partial(self._value, own, other, tokens, student, teacher, texts)
            if coupled:  # ranks that compute it again would have to exchange its vectors again
                terms[name] = Term(pair(), coupled.per, self.terms.weight)
            else:
                value = checkpoint(pair, use_reentrant=False, preserve_rng_state=False)
                terms[name] = Term(value, per, self.terms.weight)
        return terms

    def _value(
        self,
        own: int,
        other: int,
        tokens: Tensor,
        student: Encoded,
        teacher: TeacherOutputs,
        texts: Texts | None,
    ) -> Tensor:
        """The sum of a pair's losses."""
        states, projection = student.rows(tokens, self.ours[own]), self.terms.projection
        parts = teacher.states(tokens, self.theirs[other])
        if projection is not None:
            through = self.auxiliary[projection.name((own, other))]
            if projection.of_teacher:
                parts = [(share, through(its)) for share, its in parts]
            else:
                states = through(states)
        loss = self._loss((own, other), texts)
        return torch.stack([share * loss(states, its) for share, its in parts]).sum()

    def _loss(self, pair: Pair, texts: Texts | None) -> Callable[[Tensor, Tensor], Tensor]:
        if not isinstance(self.terms.loss, CoupledStateLoss):
            return self.terms.loss
        assert texts is not None, "a method with terms that couple texts has to say which"
        return partial(self.auxiliary[_name_of_loss(pair)], texts=texts)


def _name_of_loss(pair: Pair) -> str:
    own, other = pair
    return f"loss_of_{own}_and_{other}"


def state_site(model: LanguageModel, state: int) -> Site | None:
    """Where a state lies inside of a model; None: it is what the model's head reads."""
    if state == len(model.layers):
        return None
    return Site("hidden", state - 1) if state else Site("embeddings", 0)
