"""Learning-rate schedules and ramps of term weights."""

from __future__ import annotations

import pytest
import torch
from transformers import optimization

from lit_distill.errors import UserError
from lit_distill.losses import weight_at
from lit_distill.schedules import Constant, Cosine, Linear, Ramp, Schedule


def rates(schedule: Schedule, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = schedule(optimizer, steps)
    result = []
    for _ in range(steps):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return result


@pytest.mark.parametrize("total", [1, 2, 7, 1000])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5, 0.99])
def test_rates_are_those_of_transformers_to_the_last_bit(total: int, warmup: float) -> None:
    theirs = {
        Linear: optimization.get_linear_schedule_with_warmup,
        Cosine: optimization.get_cosine_schedule_with_warmup,
        Constant: optimization.get_constant_schedule_with_warmup,
    }
    for kind, make in theirs.items():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        length = () if kind is Constant else (total,)
        scheduler = make(optimizer, round(warmup * total), *length)
        (factor,) = scheduler.lr_lambdas
        (ours,) = kind(warmup)(optimizer, total).lr_lambdas
        assert [ours(n) for n in range(total + 3)] == [factor(n) for n in range(total + 3)]


def test_linear_rises_then_falls_to_zero() -> None:
    found = rates(Linear(warmup=0.2), 10)
    assert found == pytest.approx([0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])


def test_cosine_is_half_way_in_the_middle() -> None:
    found = rates(Cosine(warmup=0.0), 10)
    assert found[0] == 1
    assert found[5] == pytest.approx(0.5)


def test_constant_stays() -> None:
    assert rates(Constant(warmup=0.1), 10) == [0] + [1] * 9


def test_warmup_is_a_share() -> None:
    with pytest.raises(UserError, match="share of all updates"):
        Linear(warmup=100)


def test_a_ramp_goes_between_its_points() -> None:
    ramp = Ramp(start=0.0, end=2.0, begin=0.25, finish=0.75)
    assert [weight_at(ramp, p) for p in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0.0, 0.0, 1.0, 2.0, 2.0]
    assert weight_at(3, 0.5) == 3.0
    with pytest.raises(UserError, match="begin must not be after finish"):
        Ramp(0.0, 1.0, begin=0.5, finish=0.1)
