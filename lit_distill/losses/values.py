"""Losses of predicted numbers, one value each: what a regression learns.

Shapes: N texts.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lit_distill.losses.rows.row_loss import HardLoss, upcast


@dataclass(frozen=True)
class SquaredError(HardLoss):
    """(predicted - right)^2, in squared units of the data's numbers.

    A mean of it is torch's `mse_loss`, with which Transformers trains a head of one output.
    """

    def __call__(self, predicted: Tensor, right: Tensor) -> Tensor:
        """Values (N,) in at least float32, from predicted and right numbers (N,)."""
        predicted = upcast(predicted)
        return (predicted - right.to(predicted.dtype)).square()
