"""Gradients formed in the forward pass are those that were promised, or there is an error."""

from __future__ import annotations

import pytest
import torch
from heads import (
    COEFFICIENTS,
    LOSSES,
    PROMISED,
    assert_same,
    dense,
    draw,
    parts,
    total,
)

from lit_distill.losses import linear_losses


@pytest.mark.parametrize("factor", [1.0, 2.0, 1e-3, 65536.0])
def test_a_common_factor_of_the_coefficients_is_applied(factor):
    student, teacher, targets = draw()
    sums = linear_losses(LOSSES, student, teacher, targets, COEFFICIENTS)
    gradients = torch.autograd.grad(factor * total(sums), parts(student))
    _, expected = dense(student, teacher, targets)
    assert_same([factor * g for g in expected], list(gradients), 1e-12)


def test_coefficients_may_be_tensors_and_zero():
    student, teacher, targets = draw()
    mixed = [torch.tensor(0.7), 0.0, torch.tensor([0.0], dtype=torch.float64), 1.9]
    sums = linear_losses(LOSSES, student, teacher, targets, mixed)
    gradients = torch.autograd.grad(0.7 * sums[0] + 1.9 * sums[3], parts(student))
    plain = linear_losses(LOSSES, student, teacher, targets)
    expected = torch.autograd.grad(0.7 * plain[0] + 1.9 * plain[3], parts(student))
    assert_same(list(expected), list(gradients), 1e-6)  # 0.7 was given in float32
    nothing = linear_losses(LOSSES, student, teacher, targets, [0.0] * 4)
    for gradient in torch.autograd.grad(0.0 * sum(nothing), parts(student)):
        assert gradient.abs().max() == 0


@pytest.mark.parametrize(
    "used", [[0.7, 0.3, 0.05, 1.8], [0.7, 0.0, 0.05, 1.9], [0.7, 0.3, 0.051, 1.9], [0, 0, 0, 1.0]]
)
def test_other_coefficients_than_promised_are_refused(used):
    student, teacher, targets = draw()
    sums = linear_losses(LOSSES, student, teacher, targets, COEFFICIENTS)
    loss = torch.stack([c * s for c, s in zip(used, sums, strict=True)]).sum()
    with pytest.raises(RuntimeError, match="coefficients"):
        loss.backward()


def test_promised_gradients_are_handed_out_once_others_again_and_again():
    student, teacher, targets = draw()
    loss = total(linear_losses(LOSSES, student, teacher, targets, COEFFICIENTS))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        loss.backward()
    loss = total(linear_losses(LOSSES, student, teacher, targets))
    first = torch.autograd.grad(loss, parts(student), retain_graph=True)
    second = torch.autograd.grad(loss, parts(student))
    assert_same(list(first), list(second), 1e-15)


@PROMISED
def test_no_double_backward(promised):
    student, teacher, targets = draw()
    sums = linear_losses(LOSSES, student, teacher, targets, COEFFICIENTS if promised else None)
    with pytest.raises(RuntimeError, match="create_graph"):
        torch.autograd.grad(total(sums), student.rows, create_graph=True)
