"""Values row by row are the dense ones, and so are gradients whatever a caller makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from heads import (
    COEFFICIENTS,
    IGNORED,
    LOSSES,
    PROMISED,
    TEACHER_WIDTH,
    VOCABULARY,
    Spy,
    assert_same,
    draw,
    parts,
)
from loss_cases import every_loss
from torch import Tensor

from lit_distill.losses import (
    CrossEntropy,
    ForwardKL,
    Head,
    MeanOfLogits,
    MeanOfProbabilities,
    ReverseKL,
    RowLoss,
    SumOfDivergences,
    TeacherSignal,
    TopK,
    linear_losses,
    row_losses,
)

Combine = Callable[[Sequence[Tensor]], Tensor]
"""What a method makes of the values (N,) of each loss: a scalar."""

SPANS = torch.tensor([0, 0, 1, 2, 2, 2, 1])
"""Which span each of the rows belongs to."""


def logits(head: Head) -> Tensor:
    made = torch.nn.functional.linear(head.rows, head.weight, head.bias)
    return made if head.cap is None else head.cap * torch.tanh(made / head.cap)


def dense(losses: Sequence[RowLoss], student: Head, teacher: Head, targets: Tensor) -> list[Tensor]:
    """The same with all logits and autograd."""
    made = logits(student), logits(teacher)
    return [loss(*made, targets) for loss in losses]


def agree(
    combine: Combine, student: Head, expected: Sequence[Tensor], found: Sequence[Tensor]
) -> None:
    """Values and the gradients of what is made of them, to 1e-12."""
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one.detach(), other.detach(), rtol=1e-12, atol=1e-14)
    gradients = [
        torch.autograd.grad(combine(values), parts(student)) for values in (expected, found)
    ]
    assert_same(list(gradients[0]), list(gradients[1]), 1e-12)


def unequal(values: Sequence[Tensor]) -> Tensor:
    """Every value with a factor of its own."""
    count = len(values[0])
    factors = [torch.linspace(-1, 2 + k, count, dtype=torch.float64) for k in range(len(values))]
    return torch.stack([(f * v).sum() for f, v in zip(factors, values, strict=True)]).sum()


def spans(values: Sequence[Tensor]) -> Tensor:
    """Squared log-likelihoods of spans, and their product with those of another loss."""
    own, other = (v.new_zeros(3).index_add(0, SPANS, v) for v in values)
    return own.square().sum() + (own * other.exp().reciprocal()).sum()


def confidence(values: Sequence[Tensor]) -> Tensor:
    """Rows count the less the larger their other loss is: a constant factor."""
    weights = torch.exp(-values[1].detach())
    return (weights / weights.sum() * values[0]).sum()


def learnt_confidence(values: Sequence[Tensor]) -> Tensor:
    """The same with a gradient through the factors."""
    return (torch.softmax(-values[1], 0) * values[0]).sum()


@every_loss
@pytest.mark.parametrize("caps", [(None, None), (1.5, 3.0)])
def test_every_loss_is_its_dense_form(loss, formula, caps) -> None:
    student, teacher, targets = draw(caps=caps)
    losses = [loss, CrossEntropy()]
    expected = dense(losses, student, teacher, targets)
    for rows in (1, 3, 100):
        size = rows * VOCABULARY * 8 * 2
        found = row_losses(losses, student, teacher, targets, tile_bytes=size)
        agree(unequal, student, expected, found)
        expected = dense(losses, student, teacher, targets)


@pytest.mark.parametrize("combine", [unequal, spans, confidence, learnt_confidence])
@pytest.mark.parametrize("wanted", [(0, 1, 2), (0,), (1,), (2,)])
def test_what_is_made_of_the_values_has_its_gradient(combine, wanted) -> None:
    """Log-likelihoods of tokens summed into spans, as texts of other tokens are compared with."""
    student, teacher, targets = draw()
    for i, tensor in enumerate(parts(student)):
        tensor.requires_grad_(i in wanted)
    losses = [CrossEntropy(), ForwardKL(2.0)]
    trained = [parts(student)[i] for i in wanted]
    made = (f(losses, student, teacher, targets) for f in (dense, row_losses))
    one, other = (torch.autograd.grad(combine(values), trained) for values in made)
    assert_same(list(one), list(other), 1e-12)


def three() -> tuple[Head, ...]:
    generator = torch.Generator().manual_seed(5)
    return tuple(
        Head(*(torch.randn(n, w, generator=generator).double() for n in (7, VOCABULARY)))
        for w in (2, 4, TEACHER_WIDTH)
    )


WEIGHTS = (0.2, 0.3, 0.5)


def top(heads: tuple[Head, ...]) -> TopK:
    likeliest = torch.log_softmax(logits(heads[0]), -1).topk(VOCABULARY)
    return TopK(likeliest.indices, likeliest.values)


@pytest.mark.parametrize(
    ("signal", "mean"),
    [
        (MeanOfLogits, lambda z: sum(w * each for w, each in zip(WEIGHTS, z, strict=True))),
        (
            MeanOfProbabilities,
            lambda z: sum(w * each.softmax(-1) for w, each in zip(WEIGHTS, z, strict=True)).log(),
        ),
        (SumOfDivergences, None),
        (lambda heads, _: top(heads), lambda z: z[0]),
    ],
    ids=["logits", "probabilities", "divergences", "top k"],
)
def test_every_signal_of_teachers_will_do(
    signal: Callable[[tuple[Head, ...], tuple[float, ...]], TeacherSignal],
    mean: Callable[[list[Tensor]], Tensor] | None,
) -> None:
    student, _, targets = draw()
    losses: list[RowLoss] = [ReverseKL(), CrossEntropy()]
    theirs = [logits(head) for head in three()]
    if mean is None:
        each = [ReverseKL()(logits(student), z) for z in theirs]
        soft = torch.stack([w * v for w, v in zip(WEIGHTS, each, strict=True)]).sum(0)
    else:
        soft = ReverseKL()(logits(student), mean(theirs))
    expected = [soft, CrossEntropy()(logits(student), None, targets)]
    agree(
        unequal, student, expected, row_losses(losses, student, signal(three(), WEIGHTS), targets)
    )


@PROMISED
def test_added_up_they_are_the_sums(promised) -> None:
    student, teacher, targets = draw()
    told = COEFFICIENTS if promised else None
    values = row_losses(LOSSES, student, teacher, targets, told)
    sums = linear_losses(LOSSES, student, teacher, targets, told)
    totals = [
        torch.stack([c * s for c, s in zip(COEFFICIENTS, found, strict=True)]).sum()
        for found in ([v.sum() for v in values], sums)
    ]
    one, other = (torch.autograd.grad(total, parts(student)) for total in totals)
    torch.testing.assert_close(*totals, rtol=1e-14, atol=0)
    assert_same(list(one), list(other), 1e-14)


def test_announced_factors_of_rows_cost_no_second_pass() -> None:
    student, teacher, targets = draw()
    losses = [ForwardKL(), CrossEntropy()]
    factors = [torch.linspace(0, 2, len(targets)), 0.25]

    def total(values: Sequence[Tensor]) -> Tensor:
        return (factors[0].double() * values[0]).sum() + 0.25 * values[1].sum()

    with Spy() as seen:
        values = row_losses(losses, student, teacher, targets, factors)
        gradients = torch.autograd.grad(3 * total(values), parts(student))
    assert len(seen.products) == 4  # two projections; rows' and weight's gradient
    expected = torch.autograd.grad(
        3 * total(dense(losses, student, teacher, targets)), parts(student)
    )
    assert_same(list(expected), list(gradients), 1e-12)
    values = row_losses(losses, student, teacher, targets, factors)
    with pytest.raises(RuntimeError, match="not multiplied with"):
        torch.autograd.grad(values[0].sum() + 0.25 * values[1].sum(), parts(student))


def test_no_tensor_of_rows_by_vocabulary_is_ever_made_or_kept() -> None:
    student, teacher, targets = draw(64, 300)
    kept: list[Tensor] = []
    with (
        Spy() as seen,
        torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t),
    ):
        values = row_losses(LOSSES, student, teacher, targets, tile_bytes=4 * 2 * 300 * 8)
        unequal(values).backward()
    assert seen.largest <= 64 * 300 * 8 / 8
    assert max(t.numel() for t in kept) <= max(t.numel() for t in parts(student))


def test_what_a_loss_does_not_count_is_zero() -> None:
    student, teacher, targets = draw()
    (values,) = row_losses([CrossEntropy()], student, teacher, targets)
    assert (values == 0).tolist() == (targets == IGNORED).tolist()
    (rows,) = torch.autograd.grad(unequal([values]), [student.rows])
    assert rows[targets == IGNORED].abs().max() == 0


@PROMISED
def test_no_rows_and_no_gradients(promised) -> None:
    student, teacher, targets = draw(rows=0)
    values = row_losses(LOSSES, student, teacher, targets, COEFFICIENTS if promised else None)
    assert [v.shape for v in values] == [(0,)] * 4
    gradients = torch.autograd.grad(torch.stack(values).sum(), parts(student))
    assert all(g.eq(0).all() for g in gradients)
    student, teacher, targets = draw()
    with torch.no_grad(), Spy() as seen:
        values = row_losses(LOSSES, student, teacher, targets)
    assert not any(v.requires_grad for v in values)
    assert len(seen.products) == 2


def test_bf16_autocast_and_padding() -> None:
    """Products in bf16, values in float32; entries that pad the vocabulary get no gradient."""
    student, teacher, targets = draw(64, 300, torch.float32)
    student = Head(*parts(student), size=290)
    teacher = Head(teacher.rows, teacher.weight[:290], teacher.bias[:290])
    targets = targets.clamp(max=289)
    losses = [CrossEntropy(), ForwardKL(2.0)]
    cut = Head(student.rows, student.weight[:290], student.bias[:290])
    expected = dense(losses, cut, teacher, targets)
    with torch.autocast("cpu", torch.bfloat16):
        found = row_losses(losses, student, teacher, targets, tile_bytes=10 * 2 * 300 * 2)
    assert {v.dtype for v in found} == {torch.float32}
    one, other = (torch.autograd.grad(unequal(v), parts(student)) for v in (expected, found))
    assert {g.dtype for g in other} == {torch.float32}
    assert other[1][290:].abs().max() == 0
    assert_same(list(one), list(other), 2e-2)


def test_coefficients_that_do_not_fit_are_refused() -> None:
    student, teacher, targets = draw()
    with pytest.raises(ValueError, match="coefficient of shape"):
        row_losses([CrossEntropy()], student, teacher, targets, [torch.ones(3)])
    with pytest.raises(ValueError, match="coefficient of shape"):
        linear_losses([CrossEntropy()], student, teacher, targets, [torch.ones(len(targets))])
