"""The one-pass form is right, whatever the tiles, the order of rows, or the ties."""

from __future__ import annotations

import pytest
import torch
from heads import (
    COEFFICIENTS,
    IGNORED,
    LOSSES,
    PROMISED,
    ROWS,
    VOCABULARY,
    WIDTH,
    assert_same,
    dense,
    draw,
    parts,
    run,
    total,
)
from oracles import triple_loss as oracle
from torch import Tensor

from lit_distill.losses import CrossEntropy, ForwardKL, Head, linear_losses
from lit_distill.losses.fused import head, tiles


@PROMISED
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("caps", [(None, None), (1.5, 3.0), (2.0, None)])
def test_values_and_gradients_are_the_oracles(promised, bias, caps):
    student, teacher, targets = draw(bias=bias, caps=caps)
    values, gradients = run(student, teacher, targets, promised)
    teacher_bias = None if teacher.bias is None else teacher.bias.tolist()
    teacher_rows = [
        oracle.project(row, teacher.weight.tolist(), teacher_bias, teacher.cap)
        for row in teacher.rows.tolist()
    ]

    def sums(rows, weight, bias):
        found = [0j] * 4
        for n, target in enumerate(targets.tolist()):
            z, other = oracle.project(rows[n], weight, bias, student.cap), teacher_rows[n]
            found[0] += oracle.forward_kl(z, other, 2.0)
            found[1] += 0j if target == IGNORED else oracle.cross_entropy(z, target)
            found[2] += oracle.squared_distance(z, other)
            found[3] += oracle.forward_kl(z, other, 1.0)
        return found

    shapes = [tensor.shape for tensor in parts(student)]

    def of_flat(point):
        lists, start = [], 0
        for shape in shapes:
            piece, start = point[start : start + shape.numel()], start + shape.numel()
            width = shape[-1]
            split = [piece[i : i + width] for i in range(0, len(piece), width)]
            lists.append(split if len(shape) == 2 else piece)
        return sums(*lists, *[None] * (3 - len(lists)))

    flat = torch.cat([tensor.detach().flatten() for tensor in parts(student)]).tolist()
    for value, expected in zip(values.tolist(), of_flat(flat), strict=True):
        assert value == pytest.approx(expected.real, rel=1e-12)
    expected = oracle.gradient(
        lambda point: sum(c * s for c, s in zip(COEFFICIENTS, of_flat(point), strict=True)), flat
    )
    assert_same(
        [torch.tensor(expected, dtype=torch.float64)],
        [torch.cat([g.flatten() for g in gradients])],
        1e-12,
    )


@PROMISED
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("rows_per_block", [1, 3])
@pytest.mark.parametrize("rows_per_tile", [1, 2, 5, 100])
@pytest.mark.parametrize("caps", [(None, None), (1.5, 3.0)])
def test_tiles_and_blocks_change_nothing(
    monkeypatch, rows_per_tile, rows_per_block, dtype, limit, promised, caps
):
    student, teacher, targets = draw(dtype=dtype, caps=caps)
    row = VOCABULARY * student.weight.element_size()
    monkeypatch.setattr(tiles, "_BLOCK_BYTES", rows_per_block * row)
    monkeypatch.setattr(head, "_COLUMNS", 4)
    values, gradients = run(student, teacher, targets, promised, tile_bytes=rows_per_tile * 2 * row)
    assert values.dtype == dtype
    expected_values, expected = dense(student, teacher, targets)
    torch.testing.assert_close(values, expected_values, rtol=limit / 10, atol=0)
    assert_same(expected, gradients, limit)


def test_gradcheck():
    student, teacher, targets = draw(rows=4, vocabulary=6)
    row = 6 * 8

    def sums(rows: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        head = Head(rows, weight, bias)
        return linear_losses(LOSSES, head, teacher, targets, tile_bytes=2 * 2 * row)

    assert torch.autograd.gradcheck(sums, parts(student))


@PROMISED
def test_the_order_of_rows_changes_nothing(promised):
    student, teacher, targets = draw()
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    values, gradients = run(student, teacher, targets, promised)
    shuffled = Head(student.rows[order].detach().requires_grad_(), student.weight, student.bias)
    other = Head(teacher.rows[order], teacher.weight, teacher.bias)
    moved_values, moved = run(shuffled, other, targets[order], promised)
    torch.testing.assert_close(moved_values, values, rtol=1e-13, atol=0)
    assert_same([gradients[0][order], *gradients[1:]], moved, 1e-13)


def test_rows_without_a_target_change_no_cross_entropy():
    student, _, targets = draw()
    kept = targets != IGNORED

    def of(head: Head, wanted: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        (value,) = linear_losses([CrossEntropy()], head, targets=wanted, coefficients=[1.0])
        return value, torch.autograd.grad(value, parts(head))

    value, gradients = of(student, targets)
    few_rows = student.rows[kept].detach().requires_grad_()
    few, few_gradients = of(Head(few_rows, student.weight, student.bias), targets[kept])
    torch.testing.assert_close(value, few)
    torch.testing.assert_close(gradients[0][kept], few_gradients[0])
    assert gradients[0][~kept].abs().max() == 0
    assert_same(list(few_gradients[1:]), list(gradients[1:]), 1e-13)


def test_targets_may_all_be_missing():
    student, teacher, targets = draw()
    values, gradients = run(student, teacher, torch.full_like(targets, IGNORED), promised=True)
    assert values[1] == 0
    sums = linear_losses([CrossEntropy()], student, None, torch.full_like(targets, IGNORED), [1.0])
    assert all(g.abs().max() == 0 for g in torch.autograd.grad(sums[0], parts(student)))
    assert all(g.abs().max() > 0 for g in gradients)


@PROMISED
def test_identical_models_have_no_divergence_and_no_gradient(promised):
    student, _, _ = draw()
    (kl,) = linear_losses([ForwardKL(2.0)], student, student, None, [1.0] if promised else None)
    gradients = torch.autograd.grad(kl, parts(student))
    assert kl.abs() <= 1e-14
    assert all(g.abs().max() <= 1e-15 for g in gradients)


@PROMISED
def test_tied_weights_get_both_gradients(promised):
    _, teacher, targets = draw()
    table = torch.randn(VOCABULARY, WIDTH, dtype=torch.float64, requires_grad=True)
    tokens = torch.arange(ROWS)

    def head() -> Head:
        return Head(torch.nn.functional.embedding(tokens, table).tanh(), table)

    sums = linear_losses(LOSSES, head(), teacher, targets, COEFFICIENTS if promised else None)
    (gradient,) = torch.autograd.grad(total(sums), table)
    logits = head().rows @ table.t()
    teacher_logits = teacher.rows @ teacher.weight.t() + teacher.bias
    expected = total([loss(logits, teacher_logits, targets).sum() for loss in LOSSES])
    assert_same(list(torch.autograd.grad(expected, table)), [gradient], 1e-12)


def test_a_vocabulary_entry_switched_off_by_the_bias_counts_nothing():
    student, teacher, targets = draw()
    targets = targets.clamp(max=VOCABULARY - 3)
    with torch.no_grad():
        student.bias[-2:] = -torch.inf
        teacher.bias[-2:] = -torch.inf
    losses, coefficients = [ForwardKL(2.0), CrossEntropy()], [1.0, 1.0]
    sums = linear_losses(losses, student, teacher, targets, coefficients)
    gradients = torch.autograd.grad(sums[0] + sums[1], parts(student))

    def without_padding(head: Head) -> Head:
        return Head(head.rows, head.weight[:-2], head.bias[:-2])

    expected = linear_losses(
        losses, without_padding(student), without_padding(teacher), targets, coefficients
    )
    torch.testing.assert_close(sums, expected)
    assert_same(
        list(torch.autograd.grad(expected[0] + expected[1], parts(student))), list(gradients), 1e-12
    )


@PROMISED
def test_no_rows_give_zero_with_a_gradient_graph(promised):
    student, teacher, targets = draw(rows=0)
    values, gradients = run(student, teacher, targets, promised)
    assert values.tolist() == [0.0] * 4
    assert [g.shape for g in gradients] == [t.shape for t in parts(student)]
    assert all(g.eq(0).all() for g in gradients)


def test_the_teacher_gets_no_gradient():
    student, teacher, targets = draw()
    for tensor in parts(teacher):
        tensor.requires_grad_()
    total(linear_losses(LOSSES, student, teacher, targets, COEFFICIENTS)).backward()
    assert all(tensor.grad is None for tensor in parts(teacher))
    assert all(tensor.grad is not None for tensor in parts(student))


def test_shapes_that_do_not_fit_are_refused():
    student, teacher, targets = draw()
    with pytest.raises(ValueError, match="7 x 10"):
        linear_losses(LOSSES, student, Head(teacher.rows, teacher.weight[:-1]), targets)
    with pytest.raises(ValueError, match="6 x 11"):
        linear_losses(LOSSES, student, Head(teacher.rows[1:], teacher.weight), targets)
    with pytest.raises(ValueError, match="Targets"):
        linear_losses(LOSSES, student, teacher, targets[1:])
    with pytest.raises(ValueError, match="3 coefficients for 4 losses"):
        linear_losses(LOSSES, student, teacher, targets, COEFFICIENTS[1:])
    with pytest.raises(ValueError, match="teacher"):
        linear_losses(LOSSES, student, None, targets)
    with pytest.raises(ValueError, match="targets"):
        linear_losses(LOSSES, student, teacher)
    with pytest.raises(ValueError, match="no loss"):
        linear_losses([], student, teacher)
