"""Nothing of rows x vocabulary exists, nothing is computed twice or for nobody."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from heads import (
    COEFFICIENTS,
    IGNORED,
    LOSSES,
    PROMISED,
    Spy,
    dense,
    draw,
    parts,
    run,
    total,
)
from torch import Tensor

from lit_distill.losses import CrossEntropy, ForwardKL, linear_losses
from lit_distill.losses.fused import tiles


def spy(promised: bool = True, **options: Any) -> Spy:
    rows, vocabulary = 64, 300
    student, teacher, targets = draw(rows, vocabulary)
    with Spy() as seen:
        run(student, teacher, targets, promised, tile_bytes=4 * 2 * vocabulary * 8, **options)
    return seen


@PROMISED
def test_no_tensor_of_rows_by_vocabulary_is_ever_made(promised):
    logits = 64 * 300 * 8
    assert spy(promised).largest <= logits / 8
    student, teacher, targets = draw(64, 300)
    with Spy() as naive:
        dense(student, teacher, targets)
    assert naive.largest >= logits  # so the spy sees what there is to see


def test_nothing_large_is_kept_between_forward_and_backward():
    student, teacher, targets = draw(64, 300)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        sums = linear_losses(LOSSES, student, teacher, targets, COEFFICIENTS)
    gradients = sums[0].grad_fn.next_functions[0][0].gradients
    assert kept == []
    assert [g.shape for g in gradients] == [t.shape for t in parts(student)]


def test_all_losses_share_the_same_logits():
    student, teacher, targets = draw()
    counts = []
    for losses in ([ForwardKL()], LOSSES):
        with Spy() as seen:
            sums = linear_losses(losses, student, teacher, targets, [1.0] * len(losses))
            sum(sums).backward()
        counts.append(len(seen.products))
    assert counts[0] == counts[1] == 4  # two projections; rows' and weight's gradient


@PROMISED
@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), ()])
def test_what_needs_no_gradient_costs_no_product(wanted, promised):
    student, teacher, targets = draw()
    for i, tensor in enumerate(parts(student)):
        tensor.requires_grad_(i in wanted)
    with Spy() as seen:
        sums = linear_losses(LOSSES, student, teacher, targets, COEFFICIENTS if promised else None)
        if wanted:
            total(sums).backward()
    projections = 2 if promised or not wanted else 4
    assert len(seen.products) == projections + (0 in wanted) + (1 in wanted)
    for i, tensor in enumerate(parts(student)):
        assert (tensor.grad is not None) == (i in wanted)
    assert sums[0].requires_grad == bool(wanted)


@PROMISED
def test_without_grad_mode_only_values_are_computed(promised):
    student, teacher, targets = draw()
    coefficients = COEFFICIENTS if promised else None
    with torch.no_grad(), Spy() as seen:
        sums = linear_losses(LOSSES, student, teacher, targets, coefficients)
    assert len(seen.products) == 2
    assert not any(s.requires_grad for s in sums)
    torch.testing.assert_close(torch.stack(sums), dense(student, teacher, targets)[0])


def test_float64_is_never_cast_down():
    for _, _, made in spy().calls:
        assert all(t.dtype == torch.float64 for t in made if t.is_floating_point())


def test_rows_without_a_target_need_no_softmax_for_the_cross_entropy(monkeypatch):
    """Of 7 rows in blocks of 1, tiles of 2, the 4 with a target do."""
    student, teacher, targets = draw()
    row = student.weight.shape[0] * 8
    monkeypatch.setattr(tiles, "_BLOCK_BYTES", row)
    losses = [ForwardKL(2.0), CrossEntropy()]
    with Spy() as seen:
        linear_losses(losses, student, teacher, targets, [1.0, 1.0], tile_bytes=2 * 2 * row)
    softmaxes = [call for call in seen.calls if "softmax" in call[0]]
    assert len(softmaxes) == 2 * len(targets) + int((targets != IGNORED).sum())
