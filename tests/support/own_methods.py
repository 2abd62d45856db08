"""A method and a measure as a user would write them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from lit_distill.batch import Batch, row_languages
from lit_distill.losses import ForwardKL, LogitTerm, Term, Weight
from lit_distill.measures import Measure, Measurement, MetricSpec
from lit_distill.methods import MaskedLM
from lit_distill.models import Site
from lit_distill.training.distillation import Distillation


class ProjectedStates(Distillation):
    """Soft targets, and squared distances of hidden states that one projection has narrowed.

    The projection reads two layers of the student and two of the teacher, so it is called four
    times in each forward, twice outside of the student's graph.

    Args:
        alpha_states: weight of the distances.
        base: see `Distillation`.
    """

    needs_teacher = takes_cache = True

    def __init__(self, alpha_states: Weight = 1.0, **base: Any) -> None:
        super().__init__(**base)
        self.alpha_states = alpha_states

    def on_models_built(self) -> None:
        """Makes the projections: one that is called, and two in a container that is not."""
        width = self.student.hidden_size
        self.auxiliary["narrow"] = nn.Sequential(nn.Linear(width, 8), nn.Tanh())
        self.auxiliary["heads"] = nn.ModuleList(nn.Linear(8, 3, bias=False) for _ in range(2))

    def losses(self, batch: Batch) -> dict[str, Term]:
        """The terms kl and states."""
        ours = [Site("hidden", layer) for layer in (0, len(self.student.layers) - 1)]
        theirs = [Site("hidden", layer) for layer in (0, len(self.teacher.layers) - 1)]
        student = self.student.encode(batch, capture=ours)
        with torch.no_grad():
            teacher = self.teacher.encode(batch, capture=theirs)
        terms = self.logit_terms(
            {"kl": LogitTerm(ForwardKL(), "rows")},
            batch["rows"],
            None,
            student,
            self.teach(batch),
        )
        pairs = zip(ours, theirs, self._heads(), strict=True)
        parts = [
            self._distance(head, student.captured[own], teacher.captured[other], batch["tokens"])
            for own, other, head in pairs
        ]
        return {**terms, "states": Term(torch.stack(parts).sum(), "tokens", self.alpha_states)}

    def _heads(self) -> list[nn.Module]:
        return list(self.auxiliary["heads"].children())

    def _distance(self, head: nn.Module, student: Tensor, teacher: Tensor, rows: Tensor) -> Tensor:
        narrow = self.auxiliary["narrow"]
        flat = (states.flatten(0, 1).index_select(0, rows) for states in (student, teacher))
        one, other = (head(narrow(states)) for states in flat)
        distances: Tensor = one - other
        return distances.square().sum()


class Confidence(Measure):
    """By language, how sure a student is."""

    metrics = (MetricSpec("confidence", "confidence", False, monitored=True, figure="confidence"),)
    caption = "mean probability of the likeliest token."

    def start(self) -> None:
        names = self.method.data.languages
        self.means = {name: MeanMetric().to(self.method.device) for name in names}

    def update(self, batch: Batch) -> None:
        student, languages = self.method.student, row_languages(batch).tolist()
        logits = student.logits(student.encode(batch).rows(batch["rows"]))
        for language, best in zip(languages, logits.softmax(-1).amax(-1), strict=True):
            self.means[self.method.data.languages[language]].update(best)

    def compute(self) -> dict[str, Measurement]:
        means = {name: {"confidence": m.compute().item()} for name, m in self.means.items()}
        return {"student": Measurement.by_language(means)}


class ConfidentMLM(MaskedLM):
    """Masked language modelling, measured in another way."""

    measured_by = Confidence
