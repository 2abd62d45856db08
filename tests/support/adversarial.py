"""A method of two players as a user would write it: a critic ascends, a student descends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lit_distill.batch import Batch
from lit_distill.losses import AccumulationWindow, Term
from lit_distill.methods.hidden_states._hidden_state_method import HiddenStateMethod
from lit_distill.models import Hears


class AdversarialStates(HiddenStateMethod):
    """A critic learns to tell the student's hidden states from the teacher's.

    Both players have one loss, the gap: the mean over tokens of what the critic says of the
    student's states, less that of the teacher's. The critic moves `ascents` times, by
    `per_model: {auxiliary: {options: {maximize: true}}}` upwards, then the student once.

    Args:
        ascents: how often the critic moves for each update of the student.
        base: see `Distillation`.
    """

    hears = Hears.STATES

    def __init__(self, ascents: int = 3, **base: Any) -> None:
        super().__init__(**base)
        self.ascents = ascents

    def probe_student(self) -> Sequence[Tensor]:
        """The last hidden states."""
        ids = torch.ones(1, 3, dtype=torch.int64)
        batch = Batch(input_ids=ids, attention_mask=torch.ones_like(ids))
        return [self.student.encode(batch).hidden]

    def on_models_built(self) -> None:
        """Makes the critic."""
        super().on_models_built()
        width = self.student.hidden_size
        critic = nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, 1))
        self.auxiliary["critic"] = critic

    def players(self, update: int) -> Sequence[str]:
        """The critic, and every so often the student."""
        descends = update % (self.ascents + 1) == self.ascents
        return ["student"] if descends else ["auxiliary"]

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        """The term gap."""
        with torch.no_grad():
            theirs = self.teacher.encode(batch).rows(batch["tokens"])
        ours = self.student.encode(batch).rows(batch["tokens"])
        critic = self.auxiliary["critic"]
        return {"gap": Term(critic(ours).sum() - critic(theirs).sum(), "tokens")}
