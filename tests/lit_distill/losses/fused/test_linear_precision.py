"""Products in the dtype of autocast or of the weights, sums in float32 or better."""

from __future__ import annotations

import pytest
import torch
from heads import (
    COEFFICIENTS,
    LOSSES,
    PROMISED,
    Spy,
    assert_same,
    dense,
    draw,
    parts,
    run,
    total,
)

from lit_distill.losses import CrossEntropy, Head, linear_losses


@PROMISED
def test_bf16_autocast(promised):
    student, teacher, targets = draw(64, 300, torch.float32)
    expected_values, expected = dense(student, teacher, targets)
    with Spy() as seen, torch.autocast("cpu", torch.bfloat16):
        sums = linear_losses(
            LOSSES,
            student,
            teacher,
            targets,
            COEFFICIENTS if promised else None,
            tile_bytes=10 * 2 * 300 * 2,
        )
    with seen:
        total(sums).backward()
    assert {t.dtype for _, read, _ in seen.products for t in read} == {torch.bfloat16}
    softmaxes = [made for name, _, made in seen.calls if "softmax" in name]
    assert {t.dtype for made in softmaxes for t in made} == {torch.float32}
    assert {s.dtype for s in sums} == {torch.float32}
    torch.testing.assert_close(torch.stack(sums).detach(), expected_values, rtol=2e-2, atol=0)
    gradients = [tensor.grad for tensor in parts(student)]
    assert {g.dtype for g in gradients} == {torch.float32}
    assert_same(expected, gradients, 2e-2)


def test_a_teacher_in_bf16_beside_a_student_in_float32():
    student, teacher, targets = draw(64, 300, torch.float32)
    low = Head(*(t.bfloat16() for t in parts(teacher)))
    values, gradients = run(student, low, targets, promised=True)
    rounded = Head(*(t.float() for t in parts(low)))
    expected_values, expected = dense(student, rounded, targets)
    torch.testing.assert_close(values, expected_values, rtol=2e-2, atol=0)
    assert_same(expected, gradients, 2e-2)


def test_a_student_in_bf16_gets_bf16_gradients_summed_in_float32():
    student, teacher, targets = draw(64, 300, torch.float32)
    low = Head(*(t.detach().bfloat16().requires_grad_() for t in parts(student)))
    values, gradients = run(low, teacher, targets, promised=True, tile_bytes=10 * 6 * 300)
    assert values.dtype == torch.float32
    assert {g.dtype for g in gradients} == {torch.bfloat16}
    rounded = Head(*(t.detach().float().requires_grad_() for t in parts(low)))
    expected_values, expected = dense(rounded, teacher, targets)
    torch.testing.assert_close(values, expected_values, rtol=2e-2, atol=0)
    assert_same(expected, gradients, 2e-2)


def test_small_coefficients_survive_float16():
    student, teacher, targets = draw(64, 300, torch.float32)
    low = Head(*(t.detach().half().requires_grad_() for t in parts(student)))
    tiny = [1e-7 * c for c in COEFFICIENTS]
    sums = linear_losses(LOSSES, low, teacher, targets, tiny)
    loss = 65536e7 * torch.stack([c * s for c, s in zip(tiny, sums, strict=True)]).sum()
    gradients = torch.autograd.grad(loss / 65536, parts(low))
    _, expected = dense(student, teacher, targets)
    assert_same(expected, list(gradients), 2e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_without_a_teacher_the_student_decides_the_precision(dtype):
    student, _, targets = draw(64, 300, torch.float32)
    student = Head(*(t.detach().to(dtype) for t in parts(student)))
    (value,) = linear_losses([CrossEntropy()], student, targets=targets)
    assert value.dtype == torch.promote_types(dtype, torch.float32)
    wide = [t.double() for t in parts(student)]
    expected = CrossEntropy()(torch.nn.functional.linear(*wide), None, targets).sum()
    assert value.item() == pytest.approx(expected.item(), rel=4 * torch.finfo(dtype).eps)
