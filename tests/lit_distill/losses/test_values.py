"""The squared error of numbers against torch's."""

from __future__ import annotations

import torch

from lit_distill.losses import SquaredError


def test_its_mean_is_torchs() -> None:
    draw = torch.Generator().manual_seed(0)
    predicted, right = (torch.randn(9, generator=draw, dtype=torch.float64) for _ in range(2))
    predicted.requires_grad_()
    mine = SquaredError()(predicted, right)
    theirs = torch.nn.functional.mse_loss(predicted, right)
    torch.testing.assert_close(mine.mean(), theirs, rtol=1e-14, atol=0)
    (one,) = torch.autograd.grad(mine.mean(), predicted)
    (other,) = torch.autograd.grad(theirs, predicted)
    torch.testing.assert_close(one, other, rtol=1e-14, atol=0)


def test_half_precision_is_squared_in_float32() -> None:
    predicted = torch.tensor([300.0, -300.0], dtype=torch.float16)
    assert SquaredError()(predicted, torch.zeros(2)).tolist() == [90000.0, 90000.0]
