"""Pooling inside of a file, against a loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lit_distill.tools.delivering.making.traced import pooled


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
@pytest.mark.parametrize("left", [True, False])
def test_padding_is_left_out_on_either_side(pooling: Any, left: bool) -> None:
    torch.manual_seed(0)
    states, lengths = torch.randn(3, 5, 4), (5, 1, 3)
    mask = torch.zeros(3, 5, dtype=torch.int64)
    expected = []
    for row, length in enumerate(lengths):
        place = slice(5 - length, 5) if left else slice(0, length)
        mask[row, place] = 1
        own = states[row, place]
        expected.append({"mean": own.mean(0), "first": own[0], "last": own[-1]}[pooling])
    assert torch.allclose(pooled(states, mask, pooling), torch.stack(expected), atol=1e-6)
