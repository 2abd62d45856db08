"""Rows of all ranks, against all of them in one process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ranks import on_two_ranks
from torch import Tensor, distributed

from lit_distill.losses import gathered

SIZES = [(2, 5), (5, 2), (0, 3), (4, 4), (0, 0)]


def draw(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, 2, 3, generator=generator, dtype=torch.float64)


def info_nce(own: Tensor, every: Tensor, first: int) -> Tensor:
    """Sum over own rows of -log softmax of the cosine with the row itself among all."""
    flat, others = (torch.nn.functional.normalize(rows.flatten(1)) for rows in (own, every))
    places = first + torch.arange(len(flat))
    return torch.nn.functional.cross_entropy(flat @ others.T * 20, places, reduction="sum")


def test_two_ranks_are_one_process(tmp_path: Path) -> None:
    """Values and gradients, whatever rank has how many rows."""

    def work() -> None:
        distributed.init_process_group("gloo")
        rank = distributed.get_rank()
        for number, sizes in enumerate(SIZES):
            whole = draw(sum(sizes)).requires_grad_()
            expected = info_nce(whole, whole, 0)
            expected.backward()
            own = whole.detach().split(sizes)[rank].clone().requires_grad_()
            every, first = gathered(own)
            assert torch.equal(every, whole)
            assert first == (sizes[0] if rank else 0)
            loss = info_nce(own, every, first)
            loss.backward()
            both = loss.detach().clone()
            distributed.all_reduce(both)
            torch.testing.assert_close(both, expected.detach(), rtol=1e-12, atol=0)
            assert whole.grad is not None
            mine = whole.grad.split(sizes)[rank]
            torch.testing.assert_close(own.grad, mine, rtol=1e-12, atol=1e-12, msg=f"{number}")
        distributed.destroy_process_group()

    on_two_ranks(work, tmp_path / "log.txt")


def test_what_has_no_gradient_is_gathered_too(tmp_path: Path) -> None:
    def work() -> None:
        distributed.init_process_group("gloo")
        rank = distributed.get_rank()
        for dtype in (torch.int64, torch.bool, torch.bfloat16):
            own = torch.full((1 + rank,), rank).to(dtype)
            every, first = gathered(own)
            assert every.dtype == dtype
            assert (every.tolist(), first) == ([0, 1, 1], rank)
            assert not every.requires_grad
        distributed.destroy_process_group()

    on_two_ranks(work, tmp_path / "log.txt")


@pytest.mark.parametrize("count", [0, 3])
def test_one_process_has_its_own_rows(count: int) -> None:
    rows = draw(count)
    every, first = gathered(rows)
    assert every is rows
    assert first == 0
