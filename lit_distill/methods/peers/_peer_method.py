"""What methods share that train several models on each other."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch

from lit_distill.batch import Batch, Reading
from lit_distill.losses import (
    AccumulationWindow,
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
    the rows with a target. What a student hears is constant: no gradient flows into who said it.
    Where no divergence has a weight, each student is trained exactly as it would be alone.
    """

    takes_several = True
    reads = (Reading.MASKED, Reading.NEXT, Reading.RESPONSES)

    @abstractmethod
    def peer_terms(self) -> dict[str, PeerTerm]:
        """What the students that train learn from the others, by name."""

    @property
    def hard(self) -> str:
        """The name of the terms with hard targets."""
        first = next(iter(self.cast.student_models.values()))
        return "clm" if first.anatomy.causal else "mlm"

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        """The terms <student>/mlm (clm for decoders) and, where it has a weight, <student>/kl."""
        peer_terms, rows, targets = self.peer_terms(), batch["rows"], batch["targets"]
        models = self.cast.student_models
        asked = {name: self._asked(name, peer_terms.get(name)) for name in models}
        if all(lesson.weight == 0 for lesson in peer_terms.values()):
            found: dict[str, Term] = {}
            for name in peer_terms:
                model = models[name]
                own = model.encode(batch)
                found |= self.logit_terms(asked[name], window, rows, targets, own, model=model)
            return found
        learning = [
            PeerLosses(
                tuple(term.loss for term in terms.values()),
                name in peer_terms and peer_terms[name].to_mean,
            )
            for name, terms in asked.items()
        ]
        flat = {name: term for terms in asked.values() for name, term in terms.items()}
        shares = window.shares(flat) if torch.is_grad_enabled() else None
        states = [(model, _encode(model, batch).rows(rows)) for model in models.values()]
        sums = with_lm_heads(lambda heads: mutual_losses(learning, heads, targets, shares), states)
        pairs = zip(flat.items(), sums, strict=True)
        return {name: Term(total, term.per, term.weight) for (name, term), total in pairs}

    def _asked(self, name: str, lesson: PeerTerm | None) -> dict[str, LogitTerm]:
        """The terms of one student; none if it only speaks."""
        if lesson is None:
            return {}
        terms = {f"{name}/{self.hard}": LogitTerm(CrossEntropy(), "rows")}
        if lesson.weight != 0:
            terms[f"{name}/kl"] = LogitTerm(lesson.divergence, "rows", lesson.weight)
        return terms


def _encode(model: LanguageModel, batch: Batch) -> Encoded:
    """Runs a model, outside of any graph if it is not trained."""
    trained = any(parameter.requires_grad for parameter in model.parameters())
    with torch.set_grad_enabled(trained and torch.is_grad_enabled()):
        return model.encode(batch)
