"""What a method reads of its teacher, be it live or from a cache.

Shapes: N rows, D width.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from lit_distill.losses import TeacherSignal


class Teaching(Protocol):
    """What teachers say about one batch."""

    def signal(self, rows: Tensor) -> TeacherSignal:
        """What is said about the tokens at flat `rows` (N,), for `linear_losses`."""
        ...

    def states(self, rows: Tensor) -> list[tuple[float, Tensor]]:
        """Weight and last hidden states (N, D) of each teacher at flat `rows` (N,)."""
        ...
