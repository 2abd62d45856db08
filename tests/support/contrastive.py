"""A method over pairs of texts as a user would write it: SimCSE (Gao et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lit_distill.batch import Batch
from lit_distill.losses import AccumulationWindow, Term, gathered
from lit_distill.methods.hidden_states._hidden_state_method import HiddenStateMethod


class Contrastive(HiddenStateMethod):
    """Each text finds its own second view among those of the whole batch, on all ranks.

    Args:
        temperature: of the cosines (the paper: 0.05).
        base: see `Distillation`.
    """

    couples = ("contrast",)

    def __init__(self, temperature: float = 0.05, **base: Any) -> None:
        super().__init__(**base)
        self.temperature = temperature

    def probe_student(self) -> Sequence[Tensor]:
        """The last hidden states."""
        ids = torch.ones(1, 3, dtype=torch.int64)
        return [self._embedded(Batch(input_ids=ids, attention_mask=torch.ones_like(ids)))]

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        """The term contrast: cross-entropy of finding the own view, which other dropout made."""
        own, views = self._embedded(batch), self._embedded(batch)
        every, first = gathered(views) if self.training else (views, 0)
        similarities = own @ every.T / self.temperature
        places = first + torch.arange(len(own), device=own.device)
        found = nn.functional.cross_entropy(similarities, places, reduction="sum")
        return {"contrast": Term(found, "sequences")}

    def _embedded(self, batch: Batch) -> Tensor:
        """Means over tokens (B, D), of length 1."""
        encoded, mask = self.student.encode(batch).hidden, batch["attention_mask"].unsqueeze(2)
        return nn.functional.normalize((encoded * mask).sum(1), dim=1)
