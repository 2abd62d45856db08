"""Normalised knowledge distillation: the target and the rest as two terms of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lit_distill.knobs import NotNegative, Temperature, check_knobs
from lit_distill.losses.rows.divergences import ForwardKL
from lit_distill.losses.rows.row_loss import (
    Block,
    BlockLogits,
    Scale,
    SoftLoss,
    index_of,
    log_softmax,
    required,
    upcast,
)


@dataclass(frozen=True)
class NormalisedKD(SoftLoss):
    """-p_y log q_y + gamma T^2 KL(p' || q'), zero where the target y is `IGNORED`.

    p' and q' are the softmaxes at temperature T over all entries but y; p_y and q_y are taken at
    temperature 1. The paper's second term is a cross-entropy: its gradient is this one's.

    Source: Yang et al. (2023), https://arxiv.org/abs/2303.13005, equation 7; authors' code:
    yzd-v/cls_KD.

    Args:
        gamma: weight of the second term (paper: 1.5).
        temperature: T > 0 (1).

    Raises:
        ValueError: the temperature is not positive and finite.
    """

    gamma: NotNegative = 1.5
    temperature: Temperature = 1.0

    needs_teacher: ClassVar[bool] = True
    needs_targets: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_knobs(type(self), vars(self))

    def __call__(
        self, student: Tensor, teacher: Tensor | None = None, targets: Tensor | None = None
    ) -> Tensor:
        """Values (N,); see `RowLoss`."""
        teacher = required(teacher, "teacher logits")
        index, counted = index_of(required(targets, "targets"))
        p_y = log_softmax(teacher).gather(1, index).exp().squeeze(1)
        log_q_y = log_softmax(student).gather(1, index).squeeze(1)
        others = ForwardKL(self.temperature)(_without(student, index), _without(teacher, index))
        return torch.where(counted, -p_y * log_q_y + self.gamma * others, 0.0)

    def on_block(self, block: Block, scale: Scale | None) -> tuple[Tensor, Tensor | None]:
        """See `RowLoss.on_block`."""
        index, counted = index_of(block.targets)
        p, q = block.teacher.at(1.0), block.student.at(1.0)
        p_y = torch.where(counted, p.probabilities.gather(1, index).squeeze(1), 0.0)
        log_q_y = q.shifted.gather(1, index).squeeze(1) - q.log_normaliser
        others = Block(
            BlockLogits(_without(block.student.values, index)),
            BlockLogits(_without(block.teacher.values, index)),
        )
        share = counted.to(p_y.dtype) * self.gamma
        values, gradient = ForwardKL(self.temperature).on_block(others, scale)
        values = share * values - p_y * log_q_y
        if gradient is None or scale is None:
            return values, None
        p_y = (p_y * scale).unsqueeze(1)
        gradient.mul_(share.unsqueeze(1)).addcmul_(q.probabilities, p_y)
        return values, gradient.scatter_add_(1, index, -p_y)


def _without(logits: Tensor, index: Tensor) -> Tensor:
    """The logits with the entries at `index` (N, 1) switched off, in at least float32."""
    logits = upcast(logits)
    return logits.scatter(1, index, torch.finfo(logits.dtype).min / 64)
