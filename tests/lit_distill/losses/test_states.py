"""Losses of hidden states against loops over single numbers."""

from __future__ import annotations

import pytest
import torch
from oracles import triple_loss as oracle

from lit_distill.losses import cosine, mse

ORACLES = {"cosine": (cosine, oracle.cosine_distance), "mse": (mse, oracle.squared_distance)}
both = pytest.mark.parametrize(("loss", "formula"), ORACLES.values(), ids=ORACLES.keys())


def draw(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 7, generator=generator, dtype=dtype)
    return student.requires_grad_(), 3 * teacher


@both
def test_value_and_gradient_are_the_oracles(loss, formula):
    student, teacher = draw()
    value = loss(student, teacher)
    value.backward()
    rows = list(zip(student.tolist(), teacher.tolist(), strict=True))
    assert value.item() == pytest.approx(sum(formula(s, t).real for s, t in rows), rel=1e-12)
    expected = [oracle.gradient(lambda z, t=t: formula(z, t), s) for s, t in rows]
    torch.testing.assert_close(
        student.grad, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-13
    )


@both
def test_zero_with_zero_gradient_where_student_equals_teacher(loss, formula):
    student, _ = draw(torch.float32)
    value = loss(student, student.detach().clone())
    value.backward()
    assert value.item() == 0
    assert student.grad.abs().max() == 0


def test_cosine_sees_directions_only():
    student, teacher = draw()
    value = cosine(student, teacher)
    torch.testing.assert_close(cosine(student * 1e-6, teacher * 1e6), value)
    torch.testing.assert_close(cosine(-teacher, teacher).item(), 2.0 * len(teacher))


@pytest.mark.parametrize("zero", ["student", "teacher", "both"])
def test_cosine_of_a_zero_vector_is_one_without_a_gradient(zero):
    student, teacher = draw()
    rest = cosine(student[1:], teacher[1:])
    with torch.no_grad():
        if zero != "teacher":
            student[0] = 0
        if zero != "student":
            teacher[0] = 0
    value = cosine(student, teacher)
    value.backward()
    torch.testing.assert_close(value, rest + 1)
    assert student.grad[0].abs().max() == 0
    assert student.grad.isfinite().all()


@both
def test_at_least_float32(loss, formula):
    student, teacher = draw()
    low = loss(student.bfloat16(), teacher.bfloat16())
    assert low.dtype == torch.float32
    exact = loss(student.bfloat16().double(), teacher.bfloat16().double())
    torch.testing.assert_close(low.double(), exact, rtol=1e-6, atol=1e-6)


@both
def test_the_teacher_gets_no_gradient_and_no_rows_give_zero_with_a_graph(loss, formula):
    student, teacher = draw()
    teacher.requires_grad_()
    loss(student, teacher).backward()
    assert teacher.grad is None
    student.grad = None
    empty = loss(student[:0], teacher[:0])
    empty.backward()
    assert empty.item() == 0
    assert student.grad.abs().max() == 0


@both
def test_other_widths_are_refused(loss, formula):
    with pytest.raises(ValueError, match=r"same width"):
        loss(torch.zeros(3, 4), torch.zeros(3, 5))
