"""Losses of single rows against loops over single numbers, and the properties that define them."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import triple_loss as oracle
from torch import Tensor

from lit_distill.losses import CrossEntropy, ForwardKL, LogitMSE, RowLoss
from lit_distill.losses.row_loss import Block, BlockLogits

IGNORED = -100
ROWS, VOCABULARY = 6, 11

LOSSES = {
    "kl at 1": (ForwardKL(), lambda s, t, y: oracle.forward_kl(s, t)),
    "kl at 2.5": (ForwardKL(2.5), lambda s, t, y: oracle.forward_kl(s, t, 2.5)),
    "kl at 3 without T^2": (
        ForwardKL(3.0, t_squared=False),
        lambda s, t, y: oracle.forward_kl(s, t, 3.0, t_squared=False),
    ),
    "ce": (
        CrossEntropy(),
        lambda s, t, y: 0j if y == IGNORED else oracle.cross_entropy(s, y),
    ),
    "mse": (LogitMSE(), lambda s, t, y: oracle.squared_distance(s, t)),
}
every_loss = pytest.mark.parametrize(("loss", "formula"), LOSSES.values(), ids=LOSSES.keys())


def draw(seed: int = 0, scale: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    """Student logits, teacher logits (N, V) in float64, and targets (N,), two of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = scale * torch.randn(
        2, ROWS, VOCABULARY, generator=generator, dtype=torch.float64
    )
    targets = torch.randint(VOCABULARY, (ROWS,), generator=generator)
    targets[[1, 4]] = IGNORED
    return student, teacher, targets


def dense(
    loss: RowLoss, student: Tensor, teacher: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Values, and the gradient of their sum, by autograd."""
    student = student.detach().requires_grad_()
    values = loss(student, teacher, targets)
    (gradient,) = torch.autograd.grad(values.sum(), student)
    return values.detach(), gradient


def blockwise(
    loss: RowLoss, student: Tensor, teacher: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """The same from the hand-written gradients."""
    block = Block(BlockLogits(student), BlockLogits(teacher), targets)
    values, gradient = loss.on_block(block, 1.0)
    assert gradient is not None
    return values, gradient


forms = pytest.mark.parametrize("form", [dense, blockwise])


@forms
@every_loss
def test_values_and_gradients_are_the_oracles(loss, formula, form):
    student, teacher, targets = draw()
    values, gradient = form(loss, student, teacher, targets)
    for n in range(ROWS):
        row, other, target = student[n].tolist(), teacher[n].tolist(), int(targets[n])
        assert values[n].item() == pytest.approx(formula(row, other, target).real, rel=1e-12)
        expected = oracle.gradient(lambda z, o=other, y=target: formula(z, o, y), row)
        torch.testing.assert_close(
            gradient[n], torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-13
        )


@every_loss
def test_scale_multiplies_the_gradient_only(loss, formula):
    student, teacher, targets = draw()
    values, gradient = blockwise(loss, student, teacher, targets)
    block = Block(BlockLogits(student), BlockLogits(teacher), targets)
    scaled_values, scaled = loss.on_block(block, torch.tensor(0.25, dtype=torch.float64))
    torch.testing.assert_close(scaled_values, values)
    torch.testing.assert_close(scaled, 0.25 * gradient)
    same_values, none = loss.on_block(block, None)
    torch.testing.assert_close(same_values, values)
    assert none is None


@forms
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 7.0])
def test_kl_is_zero_with_zero_gradient_where_student_equals_teacher(temperature, form):
    student, _, targets = draw()
    for logits in (student, student.float()):
        values, gradient = form(ForwardKL(temperature), logits, logits.clone(), targets)
        assert values.abs().max() <= 4 * torch.finfo(logits.dtype).eps
        assert gradient.abs().max() <= 4 * torch.finfo(logits.dtype).eps


@forms
def test_kl_is_never_negative(form):
    for seed in range(20):
        student, teacher, targets = draw(seed, scale=5.0)
        assert form(ForwardKL(2.0), student, teacher, targets)[0].min() > 0


@forms
def test_t_squared_makes_the_gradient_independent_of_a_high_temperature(form):
    student, teacher, targets = draw(scale=1.0)

    def norms(t_squared: bool) -> Tensor:
        losses = [ForwardKL(t, t_squared) for t in (8.0, 64.0)]
        return torch.stack([form(loss, student, teacher, targets)[1].norm() for loss in losses])

    warm, hot = norms(t_squared=True)
    assert warm.item() == pytest.approx(hot.item(), rel=0.02)
    # The limit: the difference of centred logits over V.
    centred = (student - student.mean(1, True)) - (teacher - teacher.mean(1, True))
    assert hot.item() == pytest.approx((centred / VOCABULARY).norm().item(), rel=0.02)
    warm, hot = norms(t_squared=False)
    assert (warm / hot).item() == pytest.approx(64, rel=0.02)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        ForwardKL(temperature)


def test_ignored_rows_count_nothing():
    student, teacher, targets = draw()
    for form in (dense, blockwise):
        values, gradient = form(CrossEntropy(), student, teacher, targets)
        assert values[[1, 4]].tolist() == [0, 0]
        assert gradient[[1, 4]].abs().max() == 0


@every_loss
def test_half_precision_logits_are_summed_in_float32(loss, formula):
    student, teacher, targets = draw()
    student, teacher = student.bfloat16(), teacher.bfloat16()
    values = loss(student, teacher, targets)
    assert values.dtype == torch.float32
    exact = loss(student.double(), teacher.double(), targets)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(values.double(), exact, rtol=1e-5, atol=1e-6)


@forms
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_common_offset_of_the_logits_changes_nothing(temperature, form):
    student, teacher, targets = draw()
    student, teacher = student.float().round(decimals=2), teacher.float().round(decimals=2)
    offset = 4096.0  # logits in float32 still hold 3 decimals there
    for loss in (ForwardKL(temperature), CrossEntropy()):
        values, gradient = form(loss, student, teacher, targets)
        moved = form(loss, student + offset, teacher - offset, targets)
        torch.testing.assert_close(moved[0], values, rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(moved[1], gradient, rtol=1e-2, atol=1e-3)
        # In the numbers that float32 really holds up there, the result is exact.
        exact = form(loss, (student + offset).double(), (teacher - offset).double(), targets)
        torch.testing.assert_close(moved[0].double(), exact[0], rtol=1e-5, atol=1e-5)


@forms
@every_loss
def test_extreme_logits_stay_finite(loss, formula, form):
    student, _, targets = draw()
    for dtype in (torch.float32, torch.float64):
        s, t = (1e4 * student.sign()).to(dtype), (-1e4 * student.sign()).to(dtype)
        values, gradient = form(loss, s, t, targets)
        assert values.isfinite().all()
        assert gradient.isfinite().all()


def test_vocabulary_entries_masked_in_both_models_count_nothing():
    student, teacher, targets = draw()
    targets[:] = 3
    masked_student, masked_teacher = student.clone(), teacher.clone()
    masked_student[:, -2:] = -torch.inf
    masked_teacher[:, -2:] = -torch.inf
    for loss in (ForwardKL(2.0), CrossEntropy()):
        values, gradient = dense(loss, masked_student, masked_teacher, targets)
        cut_values, cut = dense(loss, student[:, :-2], teacher[:, :-2], targets)
        torch.testing.assert_close(values, cut_values)
        torch.testing.assert_close(gradient[:, :-2], cut)
        assert gradient[:, -2:].abs().max() == 0


def test_a_missing_input_is_named():
    student, teacher, targets = draw()
    with pytest.raises(ValueError, match="teacher logits"):
        ForwardKL()(student, None, targets)
    with pytest.raises(ValueError, match="targets"):
        CrossEntropy()(student, teacher, None)
    with pytest.raises(ValueError, match="teacher logits"):
        LogitMSE().on_block(Block(BlockLogits(student)), None)
