"""What methods share that train several models on each other."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import cast

import torch

from lit_distill.batch import Batch, Reading
from lit_distill.losses import (
    CrossEntropy,
    Divergence,
    LogitTerm,
    PeerLosses,
    Term,
    Weight,
    mutual_losses,
)
from lit_distill.models import Encoded, LanguageModel, with_lm_heads
from lit_distill.training.distillation import Distillation


@dataclass(frozen=True)
class PeerTerm:
    """What a student learns from the others.

    Attributes:
        divergence: of its distribution from theirs.
        weight: of the divergence; 0 leaves it out.
        to_mean: see `PeerLosses`.
    """

    divergence: Divergence
    weight: Weight
    to_mean: bool = False


class PeerMethod(Distillation):
    """A method whose students learn the same text and what the others say about it.

    Every student's cross-entropy and divergence are read from one pass over the logits of all, at
    the rows with a target. What a student learns from is constant: no gradient flows into the other
    students. Where no divergence has a weight, each is trained exactly as it would be alone.
    """

    takes_several = True
    reads = (Reading.MASKED, Reading.NEXT, Reading.RESPONSES)

    @abstractmethod
    def peer_terms(self) -> dict[str, PeerTerm]:
        """What the students that train learn from the others, by name."""

    @property
    def hard(self) -> str:
        """The name of the terms with hard targets."""
        first = cast(LanguageModel, next(iter(self.students.values())))
        return "clm" if first.anatomy.causal else "mlm"

    def losses(self, batch: Batch) -> dict[str, Term]:
        """The terms <student>/mlm (clm for decoders) and, where it has a weight, <student>/kl."""
        peer_terms = self.peer_terms()
        compared = any(term.weight != 0 for term in peer_terms.values())
        # Students of one pass share the memory of its tiles, and the sums over tiles have their
        # last bits from the tiles' size: students that are compared with nobody have passes alone.
        passes = [list(self.students)] if compared else [[name] for name in peer_terms]
        found: dict[str, Term] = {}
        for names in passes:
            found |= self._one_pass({name: peer_terms.get(name) for name in names}, batch)
        return found

    def _one_pass(self, peer_terms: dict[str, PeerTerm | None], batch: Batch) -> dict[str, Term]:
        """The terms of these students; with None one is only compared with."""
        models = [cast(LanguageModel, self.students[name]) for name in peer_terms]
        asked = [self._asked(name, term) for name, term in peer_terms.items()]
        learning = [
            PeerLosses(
                tuple(each.loss for each in terms.values()), peer is not None and peer.to_mean
            )
            for terms, peer in zip(asked, peer_terms.values(), strict=True)
        ]
        terms = {name: term for own in asked for name, term in own.items()}
        shares = self._window.shares(terms) if torch.is_grad_enabled() else None
        states = [(model, _encode(model, batch).rows(batch["rows"])) for model in models]
        sums = with_lm_heads(
            lambda heads: mutual_losses(learning, heads, batch["targets"], shares), states
        )
        pairs = zip(terms.items(), sums, strict=True)
        return {name: Term(total, term.per, term.weight) for (name, term), total in pairs}

    def _asked(self, name: str, peer: PeerTerm | None) -> dict[str, LogitTerm]:
        """The terms of one student; none if it is only compared with."""
        if peer is None:
            return {}
        terms = {f"{name}/{self.hard}": LogitTerm(CrossEntropy(), "rows")}
        if peer.weight != 0:
            terms[f"{name}/kl"] = LogitTerm(peer.divergence, "rows", peer.weight)
        return terms


def _encode(model: LanguageModel, batch: Batch) -> Encoded:
    """Runs a model, outside of any graph if it is not trained."""
    trained = any(parameter.requires_grad for parameter in model.parameters())
    with torch.set_grad_enabled(trained and torch.is_grad_enabled()):
        return model.encode(batch)
