"""Losses of single rows against loops over single numbers, and the properties that define them."""

from __future__ import annotations

import math

import pytest
import torch
from loss_cases import CASES, IGNORED, every_divergence, every_loss
from oracles import triple_loss as oracle
from torch import Tensor

from lit_distill.losses import (
    AlphaBeta,
    CentredKL,
    CrossEntropy,
    FocalLoss,
    ForwardKL,
    JensenShannon,
    LogitMSE,
    ReverseKL,
    RowLoss,
    SkewKL,
    SkewReverseKL,
    SmoothedCrossEntropy,
    SymmetricCrossEntropy,
    TotalVariation,
)
from lit_distill.losses.rows.row_loss import Block, BlockLogits

ROWS, VOCABULARY = 6, 11


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
@every_divergence
def test_it_is_zero_with_zero_gradient_where_student_equals_teacher(loss, form):
    student, _, targets = draw()
    for logits in (student, student.float()):
        values, gradient = form(loss, logits, logits.clone(), targets)
        within = 16 * loss.factor * torch.finfo(logits.dtype).eps / getattr(loss, "beta", 1)
        assert values.abs().max() <= within
        assert gradient.abs().max() <= within


@forms
@every_divergence
def test_it_is_never_negative(loss, form):
    for seed in range(20):
        student, teacher, targets = draw(seed, scale=5.0)
        assert form(loss, student, teacher, targets)[0].min() > 0


@every_loss
def test_autograd_agrees_with_finite_differences(loss, formula):
    if isinstance(loss, CentredKL):
        pytest.skip("its temperatures follow the values and are constants to the gradient")
    student, teacher, targets = draw()
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, teacher, targets), student)


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


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("mse", "smoothed ce")])
def test_vocabulary_entries_masked_in_both_models_count_nothing(name):
    loss = CASES[name].loss
    student, teacher, targets = draw()
    targets[:] = 3
    masked_student, masked_teacher = student.clone(), teacher.clone()
    masked_student[:, -2:] = -torch.inf
    masked_teacher[:, -2:] = -torch.inf
    values, gradient = dense(loss, masked_student, masked_teacher, targets)
    cut_values, cut = dense(loss, student[:, :-2], teacher[:, :-2], targets)
    torch.testing.assert_close(values, cut_values)
    torch.testing.assert_close(gradient[:, :-2], cut)
    assert gradient[:, -2:].abs().max() == 0


@forms
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_skewed_divergence_without_skew_is_not_bounded(form, dtype):
    """By the smallest number of the precision, say, whose log is -87.3 in 32 bits."""
    sure, wrong = torch.zeros(1, 3, dtype=dtype), torch.zeros(1, 3, dtype=dtype)
    sure[0, 0], wrong[0, 1] = 200.0, 200.0
    for loss, plain in (
        (SkewKL(0.0, t_squared=False), ForwardKL(t_squared=False)),
        (SkewReverseKL(0.0, t_squared=False), ReverseKL(t_squared=False)),
    ):
        values, gradient = form(loss, wrong, sure, torch.tensor([0]))
        assert values.item() == pytest.approx(200.0)
        expected, slope = form(plain, wrong, sure, torch.tensor([0]))
        torch.testing.assert_close(values, expected)
        torch.testing.assert_close(gradient, slope)
    _, gradient = form(SkewKL(0.0), wrong, sure, torch.tensor([0]))
    torch.testing.assert_close(gradient, torch.tensor([[-1.0, 1.0, 0.0]], dtype=dtype))


@forms
def test_the_ends_of_the_jensen_shannon_divergence(form):
    """D / beta and D / (1 - beta) are KLs in the limit; the ends are not."""
    student, teacher, targets = draw(scale=1.0)
    forward, reverse = (form(kl, student, teacher, targets) for kl in (ForwardKL(), ReverseKL()))
    for beta, kl in ((1e-4, forward), (1 - 1e-4, reverse)):
        near = form(JensenShannon(beta, normalised=True), student, teacher, targets)
        for one, other in zip(near, kl, strict=True):
            torch.testing.assert_close(one, other, rtol=0.01, atol=1e-3)
    for beta in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="ForwardKL"):
            JensenShannon(beta)


@forms
def test_swapping_the_models_turns_beta_around(form):
    student, teacher, targets = draw()
    for beta in (0.2, 0.5, 0.7):
        one = form(JensenShannon(beta), student, teacher, targets)[0]
        other = form(JensenShannon(1 - beta), teacher, student, targets)[0]
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@forms
def test_bounds_are_reached_by_disjoint_models_and_not_passed(form):
    apart = torch.zeros(1, VOCABULARY, dtype=torch.float64)
    apart[0, 0] = 400.0
    for loss, bound in (
        (JensenShannon(0.5), math.log(2)),
        (SkewKL(0.1), -math.log(0.1)),
        (SkewReverseKL(0.1), -math.log(0.1)),
        (TotalVariation(), 1.0),
    ):
        value = form(loss, apart, apart.roll(1), torch.zeros(1, dtype=torch.int64))[0]
        assert value.item() == pytest.approx(bound, rel=1e-12)


@forms
def test_mixtures_without_a_share_are_plain_kls(form):
    student, teacher, targets = draw()
    for skewed, plain in ((SkewKL(0.0), ForwardKL()), (SkewReverseKL(0.0), ReverseKL())):
        for one, other in zip(
            form(skewed, student, teacher, targets),
            form(plain, student, teacher, targets),
            strict=True,
        ):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@forms
def test_alpha_beta_near_its_limits_is_a_kl(form):
    student, teacher, targets = draw(scale=1.0)
    for limit, kl in ((AlphaBeta(1.0, 1e-5), ForwardKL()), (AlphaBeta(1e-5, 1.0), ReverseKL())):
        for one, other in zip(
            form(limit, student, teacher, targets),
            form(kl, student, teacher, targets),
            strict=True,
        ):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_knobs_out_of_range_are_refused():
    for make, message in (
        (lambda: SkewKL(1.0), r"in \[0, 1\)"),
        (lambda: SkewReverseKL(-0.1), r"in \[0, 1\)"),
        (lambda: AlphaBeta(1.0, 0.0), "ForwardKL"),
        (lambda: FocalLoss(-1.0), "gamma"),
        (lambda: SmoothedCrossEntropy(1.0), "smoothing"),
        (lambda: SymmetricCrossEntropy(log_zero=0.0), "log_zero"),
        (lambda: JensenShannon(0.5, temperature=0.0), "temperature"),
        (lambda: JensenShannon(0.0), "ForwardKL is trl's beta 0"),
        (lambda: JensenShannon(1.0), "ReverseKL its 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_smoothing_is_torchs():
    student, _, targets = draw()
    ours = SmoothedCrossEntropy(0.1)(student, None, targets)
    torch_s = torch.nn.functional.cross_entropy(
        student, targets, label_smoothing=0.1, reduction="none"
    )
    torch.testing.assert_close(ours, torch_s)


def test_a_missing_input_is_named():
    student, teacher, targets = draw()
    with pytest.raises(ValueError, match="teacher logits"):
        ForwardKL()(student, None, targets)
    with pytest.raises(ValueError, match="targets"):
        CrossEntropy()(student, teacher, None)
    with pytest.raises(ValueError, match="teacher logits"):
        LogitMSE().on_block(Block(BlockLogits(student)), None)
