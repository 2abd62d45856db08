"""Pooling against loops over single positions."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from lit_distill.models.body.encoded import Encoded
from lit_distill.models.embedding.pooling import Pooling, pooled

LEFT, RIGHT = (
    [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]],
    [[1, 1, 1, 0, 0], [1] * 5, [1] + [0] * 4],
)


def states(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(
        dtype
    )


def slowly(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    vectors = []
    for text, real in zip(hidden, mask.tolist(), strict=True):
        own = [state for state, there in zip(text, real, strict=True) if there]
        weights = {
            "mean": [1.0] * len(own),
            "first": [1.0] + [0.0] * (len(own) - 1),
            "last": [0.0] * (len(own) - 1) + [1.0],
            "weighted": [k + 1.0 for k in range(len(own))],
        }[pooling]
        total = sum(w * state for w, state in zip(weights, own, strict=True))
        assert isinstance(total, Tensor)
        vectors.append(total / sum(weights))
    return torch.stack(vectors)


@pytest.mark.parametrize("mask", [LEFT, RIGHT], ids=["left", "right"])
@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_vectors_and_gradients_are_those_of_a_loop(pooling: Pooling, mask: list[list[int]]) -> None:
    fast, slow = states().requires_grad_(), states().requires_grad_()
    real = torch.tensor(mask)
    found, expected = pooled(Encoded(fast, real), pooling), slowly(slow, real, pooling)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    towards = torch.randn(found.shape, dtype=torch.float64)
    (found * towards).sum().backward()
    (expected * towards).sum().backward()
    torch.testing.assert_close(fast.grad, slow.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_what_stands_at_padding_has_no_part(pooling: Pooling) -> None:
    real, hidden = torch.tensor(RIGHT), states()
    other = torch.where(real.unsqueeze(-1).bool(), hidden, 1e3)
    assert torch.equal(
        pooled(Encoded(hidden, real), pooling), pooled(Encoded(other, real), pooling)
    )


@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_narrow_states_are_pooled_in_float32(pooling: Pooling) -> None:
    real, narrow = torch.tensor(RIGHT), states(torch.bfloat16)
    found = pooled(Encoded(narrow, real), pooling)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), slowly(narrow.double(), real, pooling))
