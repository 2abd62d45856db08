"""The temperature of every row by hand, where it meets the plain KL, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from oracles.row_losses import distance

from lit_distill.errors import UserError
from lit_distill.losses import DynamicTemperatureKL, ForwardKL

DRAW = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (torch.randn(6, 5, generator=DRAW, dtype=torch.float64) for _ in range(2))


def test_a_row_far_from_the_teacher_is_cooler() -> None:
    """Three rows by hand: equal, orthogonal and opposite logits are 0, 1 and 2 apart."""
    student = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 0, 3]], dtype=torch.float64)
    teacher = torch.tensor([[5.0, 0, 0], [0, 0, 1], [0, 0, -1]], dtype=torch.float64)
    loss = DynamicTemperatureKL(t_squared=False)
    apart = loss.distances(student, teacher)
    assert apart.tolist() == pytest.approx([0, 1, 2], abs=1e-15)
    values = loss.around(apart.mean())(student, teacher)
    for row, temperature in enumerate([9.0, 8.0, 7.0]):
        plain = ForwardKL(temperature, t_squared=False)(student[row : row + 1], teacher[row][None])
        assert values[row].item() == pytest.approx(plain.item(), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 3.0])
def test_distances_are_those_of_the_formula(gamma: float) -> None:
    found = DynamicTemperatureKL(20.0, gamma=gamma).distances(STUDENT, TEACHER)
    pairs = zip(STUDENT.tolist(), TEACHER.tolist(), strict=True)
    assert found.tolist() == pytest.approx([distance(s, t, gamma) for s, t in pairs], rel=1e-12)


@pytest.mark.parametrize("still", [{"beta": 0.0}, {"gamma": 0.0}])
def test_without_movement_it_is_the_plain_kl(still: dict[str, float]) -> None:
    loss = DynamicTemperatureKL(3.0, **still)
    found = loss.around(loss.distances(STUDENT, TEACHER).mean())(STUDENT, TEACHER)
    torch.testing.assert_close(found, ForwardKL(3.0)(STUDENT, TEACHER), rtol=1e-12, atol=1e-14)


def test_a_student_that_is_its_teacher_learns_nothing() -> None:
    student = TEACHER.clone().requires_grad_()
    loss = DynamicTemperatureKL()
    assert loss.distances(student, TEACHER).abs().max() == 0
    value = loss.around(0.4)(student, TEACHER).sum()
    (gradient,) = torch.autograd.grad(value, student)
    assert value.abs() < 1e-14
    assert gradient.abs().max() < 1e-14


def test_rows_without_a_direction_and_huge_ones_are_as_far_as_any() -> None:
    """Squares of float32's largest numbers would be infinite."""
    student = torch.tensor([[0.0, 0.0], [3e38, 0.0], [1e-30, 0.0]])
    teacher = torch.tensor([[1.0, 2.0], [0.0, 3e38], [1.0, 0.0]])
    found = DynamicTemperatureKL().distances(student, teacher)
    assert found.tolist() == pytest.approx([1, 1, 0], abs=1e-6)


def test_a_temperature_that_could_fall_to_zero_is_refused() -> None:
    with pytest.raises(UserError, match=r"could fall to 0: use a temperature above beta 2\^gamma"):
        DynamicTemperatureKL(2.0)
    DynamicTemperatureKL(2.1)
