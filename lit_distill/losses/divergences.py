"""Divergences between teacher and student distributions, one value per row of logits.

p = softmax(teacher / T), q = softmax(student / T). Every divergence is a true one: at least zero,
and zero where p = q.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lit_distill.losses.row_loss import Block, Scale, log_softmax, required


@dataclass(frozen=True)
class ForwardKL:
    """KL(p || q) = sum_v p_v (log p_v - log q_v), the soft-target loss of Hinton et al. (2015).

    Its gradient with respect to the student's logits is that of the soft cross-entropy, but its
    value reaches zero when the student equals the teacher.

    Args:
        temperature: T > 0; larger is softer.
        t_squared: multiply by T^2, so that the size of the gradient hardly depends on T (Hinton et
            al., section 2; DistilBERT's code). Without it a change of T changes the term's weight.

    Raises:
        ValueError: the temperature is not positive and finite.
    """

    temperature: float = 1.0
    t_squared: bool = True

    needs_teacher: ClassVar[bool] = True
    needs_targets: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ValueError(
                f"The temperature is {self.temperature}, but softmax(logits / temperature) needs a "
                "positive, finite one; 1 leaves the logits as they are, 2 is DistilBERT's."
            )

    @property
    def _factor(self) -> float:
        return self.temperature**2 if self.t_squared else 1.0

    def __call__(
        self, student: Tensor, teacher: Tensor | None = None, targets: Tensor | None = None
    ) -> Tensor:
        """Values (N,); see `RowLoss`."""
        del targets
        log_p = log_softmax(required(teacher, "teacher logits"), self.temperature)
        log_q = log_softmax(student, self.temperature)
        # A vocabulary entry masked with -inf in both has no difference, and would give 0 * nan.
        difference = torch.where(log_p == -torch.inf, 0.0, log_p - log_q)
        return (log_p.exp() * difference).sum(-1) * self._factor

    def on_block(self, block: Block, scale: Scale | None) -> tuple[Tensor, Tensor | None]:
        """See `RowLoss.on_block`; the gradient is (q - p) / T."""
        p, q = block.teacher.at(self.temperature), block.student.at(self.temperature)
        difference = torch.sub(p.shifted, q.shifted)
        values = difference.mul_(p.probabilities).sum(-1)
        values.add_(q.log_normaliser).sub_(p.log_normaliser).mul_(self._factor)
        if scale is None:
            return values, None
        # The block of differences is no longer needed: its memory, still in cache, is reused.
        gradient = torch.sub(q.probabilities, p.probabilities, out=difference)
        return values, gradient.mul_(scale * (self._factor / self.temperature))
