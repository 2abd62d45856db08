"""The battery: every loss of rows in its one-pass form is its dense form, however it is cut up."""

from __future__ import annotations

import pytest
import torch
from heads import VOCABULARY, Head, assert_same, draw, parts
from loss_cases import IGNORED, every_divergence, every_loss
from torch import Tensor

from lit_distill.losses import CentredKL, CrossEntropy, RowLoss, linear_losses

SHARES = (0.6, 1.7)
"""Of the loss, and of a cross-entropy in the same pass."""


def logits(head: Head) -> Tensor:
    made = torch.nn.functional.linear(head.rows, head.weight, head.bias)
    return made if head.cap is None else head.cap * torch.tanh(made / head.cap)


def by_autograd(
    loss: RowLoss, student: Head, teacher: Head, targets: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Sums and gradients from whole logits."""
    made = logits(student), logits(teacher)
    factor = torch.ones(len(targets)) if weights is None else weights
    sums = [(each(*made, targets) * factor).sum() for each in (loss, CrossEntropy())]
    total = SHARES[0] * sums[0] + SHARES[1] * sums[1]
    return torch.stack(sums).detach(), list(torch.autograd.grad(total, parts(student)))


def in_one_pass(
    loss: RowLoss, student: Head, teacher: Head, targets: Tensor, promised: bool, **options: object
) -> tuple[Tensor, list[Tensor]]:
    """The same tile by tile."""
    told = SHARES if promised else None
    sums = linear_losses([loss, CrossEntropy()], student, teacher, targets, told, **options)
    total = SHARES[0] * sums[0] + SHARES[1] * sums[1]
    return torch.stack(sums).detach(), list(torch.autograd.grad(total, parts(student)))


def agree(one: tuple[Tensor, list[Tensor]], other: tuple[Tensor, list[Tensor]], within: float):
    torch.testing.assert_close(one[0], other[0].to(one[0].dtype), rtol=within, atol=within)
    assert_same(one[1], other[1], within)


@every_loss
@pytest.mark.parametrize("caps", [(None, None), (1.5, 3.0)])
def test_one_pass_is_autograd(loss, formula, caps):
    student, teacher, targets = draw(caps=caps)
    expected = by_autograd(loss, student, teacher, targets)
    for promised in (True, False):
        for rows in (1, 3, 100):
            size = rows * VOCABULARY * 8 * 2
            found = in_one_pass(loss, student, teacher, targets, promised, tile_bytes=size)
            agree(expected, found, 1e-12)


@every_loss
def test_rows_have_weights(loss, formula):
    student, teacher, targets = draw()
    weights = torch.linspace(0, 2, len(targets), dtype=torch.float64)
    expected = by_autograd(loss, student, teacher, targets, weights)
    for promised in (True, False):
        found = in_one_pass(
            loss, student, teacher, targets, promised, weights=weights, tile_bytes=2 * 2 * 88
        )
        agree(expected, found, 1e-12)


@every_loss
def test_order_and_split_change_nothing(loss, formula):
    student, teacher, targets = draw()
    expected = by_autograd(loss, student, teacher, targets)
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    halves = [
        in_one_pass(
            loss,
            Head(student.rows[part], student.weight, student.bias),
            Head(teacher.rows[part], teacher.weight, teacher.bias),
            targets[part],
            promised=True,
        )
        for part in (order[:3], order[3:])
    ]
    rows = torch.cat([half[1][0] for half in halves])
    found = [torch.empty_like(rows).index_copy_(0, order, rows)]
    found += [one + other for one, other in zip(halves[0][1][1:], halves[1][1][1:], strict=True)]
    agree(expected, (halves[0][0] + halves[1][0], found), 1e-12)


@every_loss
def test_padding_of_the_vocabulary_is_cut_off(loss, formula):
    """151,936 against 152,064: never filled with logits of zero."""
    student, teacher, targets = draw()
    expected = by_autograd(loss, student, teacher, targets)

    def padded(head: Head, more: int) -> Head:
        weight = torch.cat([head.weight.detach(), torch.ones(more, head.weight.shape[1]).double()])
        bias = None if head.bias is None else torch.cat([head.bias.detach(), torch.ones(more)])
        return Head(head.rows.detach(), weight, bias, size=VOCABULARY)

    wide, other = padded(student, 2), padded(teacher, 5)
    for tensor in parts(wide):
        tensor.requires_grad_()
    for promised in (True, False):
        sums, (rows, weight, bias) = in_one_pass(loss, wide, other, targets, promised)
        assert weight[VOCABULARY:].abs().max() == bias[VOCABULARY:].abs().max() == 0
        agree(expected, (sums, [rows, weight[:VOCABULARY], bias[:VOCABULARY]]), 1e-12)


@every_loss
def test_bf16_heads_are_summed_in_float32(loss, formula):
    student, teacher, targets = draw()
    low, low_teacher = (
        Head(*(tensor.detach().bfloat16() for tensor in parts(head))) for head in (student, teacher)
    )
    exact, exact_teacher = (
        Head(*(tensor.double() for tensor in parts(head))) for head in (low, low_teacher)
    )
    for head in (low, exact):
        for tensor in parts(head):
            tensor.requires_grad_()
    expected = by_autograd(loss, exact, exact_teacher, targets)
    sums, gradients = in_one_pass(loss, low, low_teacher, targets, promised=True)
    assert sums.dtype == torch.float32
    assert {gradient.dtype for gradient in gradients} == {torch.bfloat16}
    torch.testing.assert_close(sums.double(), expected[0], rtol=0.05, atol=0.05)
    assert_same(expected[1], gradients, 0.05)


@every_loss
def test_extreme_and_switched_off_entries_stay_finite(loss, formula):
    student, teacher, targets = draw(dtype=torch.float32)
    targets[targets == VOCABULARY - 1] = 0

    def extreme(head: Head, sign: float) -> Head:
        bias = (sign * 1e4 * head.bias.detach().sign()).index_fill(
            0, torch.tensor([VOCABULARY - 1]), -torch.inf
        )
        return Head(head.rows.detach(), head.weight.detach(), bias)

    wild, other = extreme(student, 1.0), extreme(teacher, -1.0)
    for tensor in parts(wild):
        tensor.requires_grad_()
    sums, gradients = in_one_pass(loss, wild, other, targets, promised=True)
    assert all(tensor.isfinite().all() for tensor in (sums, *gradients))


@every_loss
def test_no_rows_and_no_targets_have_a_gradient_of_zero(loss, formula):
    student, teacher, targets = draw()
    none = Head(student.rows[:0], student.weight, student.bias)
    (value,) = linear_losses([loss], none, Head(teacher.rows[:0], *parts(teacher)[1:]), targets[:0])
    for gradient in torch.autograd.grad(value, parts(student), materialize_grads=True):
        assert gradient.abs().max() == 0
    assert value == 0
    if loss.needs_targets:
        (value,) = linear_losses([loss], student, teacher, torch.full_like(targets, IGNORED))
        assert value == 0
        for gradient in torch.autograd.grad(value, parts(student)):
            assert gradient.abs().max() == 0


@every_divergence
def test_it_is_zero_where_both_heads_are_one(loss):
    student, _, targets = draw()
    sums = linear_losses([loss], student, student.detach(), targets, [1.0])
    within = 200 * loss.factor * torch.finfo(torch.float64).eps / getattr(loss, "beta", 1)
    assert sums[0].abs() <= within
    for gradient in torch.autograd.grad(sums[0], parts(student)):
        assert gradient.abs().max() <= within


@every_loss
def test_gradcheck(loss, formula):
    if isinstance(loss, CentredKL):
        pytest.skip("its temperatures follow the values and are constants to the gradient")
    student, teacher, targets = draw()

    def value(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return linear_losses([loss], Head(rows, weight, bias), teacher, targets)[0]

    assert torch.autograd.gradcheck(value, tuple(parts(student)))
