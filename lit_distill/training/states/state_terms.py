"""Terms on hidden states that a layer map pairs, for any method whose teacher lets itself be read.

Shapes: B sequences, T positions, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_distill.errors import UserError
from lit_distill.knobs import check_knobs
from lit_distill.losses import StateLoss, StateMSE, Term, Weight
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
        projection: what student's states pass before they are compared; None: nothing.
        loss: of a row of each, an average over the width.
        embeddings: whether state 0 learns the teacher's state 0, beside what the map pairs.
        weight: of every pair.
    """

    layer_map: LayerMap = Uniform()  # noqa: RUF009 (frozen)
    projection: StateProjection | None = None
    loss: StateLoss = StateMSE()  # noqa: RUF009 (frozen)
    embeddings: bool = False
    weight: Weight = 1.0

    def __post_init__(self) -> None:
        check_knobs(StateTerms, vars(self))

    def between(
        self, student: LanguageModel, teacher: LanguageModel, auxiliary: nn.ModuleDict
    ) -> PairedStates:
        """These terms of two models.

        Args:
            student: whose states learn.
            teacher: whose states they learn.
            auxiliary: gets the projections.

        Raises:
            UserError: the states cannot be compared, or the map does not fit.
        """
        ours, theirs = (check_layer(model, None, "layer") + 1 for model in (student, teacher))
        check_same_causality(student, teacher)
        first = {(0, 0)} if self.embeddings else set()
        pairs = sorted({*first, *self.layer_map.pairs(ours, theirs)})
        widths = student.hidden_size, teacher.hidden_size
        if self.projection is not None:
            for name in dict.fromkeys(map(self.projection.name, pairs)):
                auxiliary[name] = self.projection.build(*widths)
        elif widths[0] != widths[1]:
            raise UserError(
                f"The student's states are {widths[0]} wide and the teacher's {widths[1]}, and "
                "model.projection is null: give it a LinearProjection."
            )
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
        auxiliary: with the projections.
    """

    terms: StateTerms
    pairs: Sequence[Pair]
    ours: dict[int, Site | None]
    theirs: dict[int, Site | None]
    auxiliary: nn.ModuleDict

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

    def of(self, tokens: Tensor, student: Encoded, teacher: TeacherOutputs) -> dict[str, Term]:
        """A term for every pair.

        Args:
            tokens: flat positions of all real tokens.
            student: with what `student_sites` names.
            teacher: likewise.
        """
        terms, projection = dict[str, Term](), self.terms.projection
        for own, other in self.pairs:
            states = student.rows(tokens, self.ours[own])
            if projection is not None:
                states = self.auxiliary[projection.name((own, other))](states)
            parts = teacher.states(tokens, self.theirs[other])
            value = torch.stack([share * self.terms.loss(states, its) for share, its in parts])
            terms[f"state_{own}_{other}"] = Term(value.sum(), "tokens", self.terms.weight)
        return terms


def state_site(model: LanguageModel, state: int) -> Site | None:
    """Where a state lies inside of a model; None: it is what the model's head reads."""
    if state == len(model.layers):
        return None
    return Site("hidden", state - 1) if state else Site("embeddings", 0)
