"""What a method reads of its teacher, be it live or from a cache.

Shapes: N rows, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lit_distill.losses import TeacherSignal
from lit_distill.models.language_model import Encoded, LanguageModel


class Teaching(Protocol):
    """What teachers say about one batch."""

    def signal(self, rows: Tensor) -> TeacherSignal:
        """What is said about the tokens at flat `rows` (N,), for `linear_losses`."""
        ...

    def states(self, rows: Tensor) -> list[tuple[float, Tensor]]:
        """Weight and last hidden states (N, D) of each teacher at flat `rows` (N,)."""
        ...


@dataclass(frozen=True)
class LiveTeaching:
    """A batch as a live teacher encoded it, outside of any graph."""

    model: LanguageModel
    encoded: Encoded

    def signal(self, rows: Tensor) -> TeacherSignal:
        """See `Teaching`; no logits are made yet."""
        with torch.no_grad():
            return self.model.with_head(lambda head: head, self.encoded.rows(rows))

    def states(self, rows: Tensor) -> list[tuple[float, Tensor]]:
        """See `Teaching`."""
        return [(1.0, self.encoded.rows(rows))]
