"""A method and a measure as a user would write them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from lit_distill.batch import Batch, row_languages
from lit_distill.losses import AccumulationWindow, ForwardKL, LogitTerm, Term, Weight
from lit_distill.measures import Measure, Measurement, MetricSpec
from lit_distill.methods import MaskedLM
from lit_distill.models import Hears, LanguageModel, Site
from lit_distill.training.distillation import Distillation
from lit_distill.training.logit_terms import logit_terms


class ProjectedStates(Distillation):
    """Soft targets, and squared distances of hidden states that one projection has narrowed.

    The projection reads two layers of the student and two of the teacher, so it is called four
    times in each forward, twice outside of the student's graph.

    Args:
        alpha_states: weight of the distances.
        base: see `Distillation`.
    """

    hears = Hears.STATES

    def __init__(self, alpha_states: Weight = 1.0, **base: Any) -> None:
        super().__init__(**base)
        self.alpha_states = alpha_states

    def on_models_built(self) -> None:
        """Makes the projections: one that is called, and two in a container that is not."""
        width = self.student.hidden_size
        self.auxiliary["narrow"] = nn.Sequential(nn.Linear(width, 8), nn.Tanh())
        self.auxiliary["heads"] = nn.ModuleList(nn.Linear(8, 3, bias=False) for _ in range(2))

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        """The terms kl and states; one forward of the student, and one of the teacher."""
        ours, theirs, tokens = _sites(self.student), _sites(self.teacher), batch["tokens"]
        student, teacher = self.student.encode(batch, capture=ours), self.teach(batch, theirs)
        kl = {"kl": LogitTerm(ForwardKL(), "rows")}
        terms = logit_terms(self.student, kl, window, batch["rows"], None, student, teacher)
        parts = [
            share * self._distance(head, student.rows(tokens, own), states)
            for own, other, head in zip(ours, theirs, self._heads(), strict=True)
            for share, states in teacher.states(tokens, other)
        ]
        return {**terms, "states": Term(torch.stack(parts).sum(), "tokens", self.alpha_states)}

    def _heads(self) -> list[nn.Module]:
        return list(self.auxiliary["heads"].children())

    def _distance(self, head: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        narrow = self.auxiliary["narrow"]
        distances: Tensor = head(narrow(student)) - head(narrow(teacher))
        return distances.square().sum()


def _sites(model: LanguageModel) -> list[Site]:
    """The outputs of the first and the last layer."""
    return [Site("hidden", layer) for layer in (0, len(model.layers) - 1)]


class Confidence(Measure):
    metrics = (MetricSpec("confidence", "sure", smaller_is_better=False, monitored=True),)
    caption = "mean probability of the likeliest token."

    def start(self) -> None:
        names = self.method.data_facts.languages
        self.means = {name: MeanMetric().to(self.method.device) for name in names}

    def update(self, batch: Batch) -> None:
        student, languages = self.method.student, row_languages(batch).tolist()
        logits = student.logits(student.encode(batch).rows(batch["rows"]))
        for language, best in zip(languages, logits.softmax(-1).amax(-1), strict=True):
            self.means[self.method.data_facts.languages[language]].update(best)

    def compute(self) -> dict[str, Measurement]:
        means = {name: {"confidence": m.compute().item()} for name, m in self.means.items()}
        return {"student": Measurement.by_language(means)}


class ConfidentMLM(MaskedLM):
    measured_by = Confidence
