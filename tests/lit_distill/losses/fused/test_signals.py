"""Several teachers, and teachers of whom only the likeliest tokens are known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from heads import ROWS, VOCABULARY, Head, assert_same, draw, parts
from loss_cases import every_divergence
from torch import Tensor

from lit_distill.losses import (
    AlphaBeta,
    CrossEntropy,
    Divergence,
    ForwardKL,
    LogitMSE,
    MeanOfLogits,
    MeanOfProbabilities,
    NormalisedKD,
    ReverseKL,
    SkewReverseKL,
    SumOfDivergences,
    TeacherSignal,
    TopK,
    linear_losses,
)

WEIGHTS = (0.5, 0.3, 0.2)


def logits(head: Head) -> Tensor:
    return torch.nn.functional.linear(head.rows, head.weight, head.bias)


def three_teachers() -> tuple[Head, ...]:
    """Of different widths."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return tuple(
        Head(normal(ROWS, width), normal(VOCABULARY, width), normal(VOCABULARY))
        for width in (2, 4, 5)
    )


def check(
    loss: Divergence,
    signal: TeacherSignal,
    student: Head,
    targets: Tensor,
    expected: Tensor,
    within: float = 1e-12,
) -> None:
    """Value and gradients of the one-pass form, beside a cross-entropy, whatever the tiles."""
    value = expected.detach()
    gradients = torch.autograd.grad(
        expected + CrossEntropy()(logits(student), None, targets).sum(), parts(student)
    )
    for rows in (1, 3, 100):
        for told in ((1.0, 1.0), None):
            size = rows * VOCABULARY * 8
            found = linear_losses(
                [loss, CrossEntropy()], student, signal, targets, told, tile_bytes=size
            )
            torch.testing.assert_close(found[0].detach(), value, rtol=within, atol=within)
            assert_same(
                list(gradients),
                list(torch.autograd.grad(found[0] + found[1], parts(student))),
                within,
            )


@every_divergence
def test_a_mean_of_logits(loss):
    student, _, targets = draw()
    teachers = three_teachers()
    mean = sum(weight * logits(head) for weight, head in zip(WEIGHTS, teachers, strict=True))
    expected = loss(logits(student), mean).sum()
    check(loss, MeanOfLogits(teachers, WEIGHTS), student, targets, expected)


@every_divergence
def test_a_mean_of_probabilities_is_taken_at_the_temperature(loss):
    student, _, targets = draw()
    teachers, t = three_teachers(), loss.temperature
    mean = sum(
        weight * torch.softmax(logits(head) / t, -1)
        for weight, head in zip(WEIGHTS, teachers, strict=True)
    )
    expected = loss(logits(student), t * mean.log()).sum()
    check(loss, MeanOfProbabilities(teachers, WEIGHTS), student, targets, expected)


@every_divergence
def test_a_sum_of_divergences(loss):
    student, _, targets = draw()
    teachers = three_teachers()
    weights = (2.0, 0.1, 1.3)
    expected = sum(
        weight * loss(logits(student), logits(head)).sum()
        for weight, head in zip(weights, teachers, strict=True)
    )
    check(loss, SumOfDivergences(teachers, weights), student, targets, expected)


def top(teacher: Head, loss: Divergence, k: int, tail: str) -> TopK:
    log_p = torch.log_softmax(logits(teacher) / loss.temperature, -1)
    likeliest = log_p.topk(k)
    return TopK(likeliest.indices.int(), likeliest.values, loss.temperature, tail)


@pytest.mark.parametrize("tail", ["bucket", "renormalise", "uniform"])
@every_divergence
def test_the_likeliest_tokens_are_exact_where_they_are_all(loss, tail):
    student, teacher, targets = draw()
    if tail == "renormalise" and not loss.allows_bucketing:
        pytest.skip("refused: see below")
    expected = loss(logits(student), logits(teacher)).sum()
    check(loss, top(teacher, loss, VOCABULARY, tail), student, targets, expected, 1e-11)


def coarse(head: Head, ids: Tensor, temperature: float) -> Tensor:
    """Log-probabilities of the entries at `ids`, and of all others together."""
    log_p = torch.log_softmax(logits(head) / temperature, -1)
    others = log_p.scatter(1, ids, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat([log_p.gather(1, ids), others], 1)


@every_divergence
def test_a_bucket_makes_one_entry_of_the_tail(loss):
    student, teacher, targets = draw()
    signal, t = top(teacher, loss, 3, "bucket"), loss.temperature
    both = (coarse(head, signal.ids.long(), t) for head in (student, teacher))
    expected = loss(*(t * log_p for log_p in both)).sum()
    check(loss, signal, student, targets, expected)
    if loss.allows_bucketing and loss.temperature == 1:  # an f-divergence: a coarser look sees less
        assert expected < loss(logits(student), logits(teacher)).sum()


@every_divergence
def test_a_tail_left_out_has_no_mass(loss):
    student, teacher, targets = draw()
    signal = top(teacher, loss, 3, "renormalise")
    if not loss.allows_bucketing:
        with pytest.raises(
            ValueError, match=r'not defined where the teacher gives nothing.*"bucket"'
        ):
            linear_losses([loss], student, signal, targets)
        return
    kept = torch.full_like(logits(teacher), -torch.inf)
    kept.scatter_(1, signal.ids.long(), logits(teacher).gather(1, signal.ids.long()))
    check(loss, signal, student, targets, loss(logits(student), kept).sum())


@pytest.mark.parametrize("tail", ["bucket", "renormalise", "uniform"])
@every_divergence
def test_tokens_that_the_teacher_forbids_have_no_mass(loss, tail):
    """Of log-probability -inf, as where its logits are masked."""
    student, teacher, targets = draw()
    assert teacher.bias is not None
    bias = teacher.bias.detach().clone()
    bias[[1, 4]] = -torch.inf
    masked = replace(teacher, bias=bias)
    if not loss.allows_bucketing:  # infinite; what matters is that no number is NaN
        if tail != "renormalise":
            (value,) = linear_losses([loss], student, top(masked, loss, VOCABULARY, tail), targets)
            assert not value.isnan()
        return
    expected = loss(logits(student), logits(masked)).sum()
    check(loss, top(masked, loss, VOCABULARY, tail), student, targets, expected, 1e-11)


@every_divergence
def test_a_uniform_tail_is_even(loss):
    student, teacher, targets = draw()
    signal, t = top(teacher, loss, 3, "uniform"), loss.temperature
    ids = signal.ids.long()
    log_p = coarse(teacher, ids, t)
    even = (log_p[:, -1:] - math.log(VOCABULARY - 3)).expand(-1, VOCABULARY)
    whole = even.scatter(1, ids, log_p[:, :-1])
    check(loss, signal, student, targets, loss(logits(student), t * whole).sum())


def test_no_logits_of_the_teacher_are_made_for_its_likeliest_tokens():
    student, teacher, targets = draw()
    signal = top(teacher, ForwardKL(), 3, "bucket")
    assert signal.heads == ()
    narrow = replace(signal, log_probabilities=signal.log_probabilities.half())
    for tail in ("bucket", "renormalise", "uniform"):
        (value,) = linear_losses([ForwardKL()], student, replace(narrow, tail=tail), targets)
        (exact,) = linear_losses([ForwardKL()], student, replace(signal, tail=tail), targets)
        assert value.item() == pytest.approx(exact.item(), rel=1e-3)


def test_what_does_not_fit_is_refused():
    student, teacher, targets = draw()
    teachers = three_teachers()
    with pytest.raises(ValueError, match="3 teachers need as many positive weights"):
        SumOfDivergences(teachers, (1.0, 1.0))
    with pytest.raises(ValueError, match="weights of a mean sum to 1"):
        MeanOfLogits(teachers, (1.0, 1.0, 1.0))
    signal = top(teacher, ForwardKL(), 3, "bucket")
    with pytest.raises(ValueError, match=r"kept at 1\.0"):
        linear_losses([ForwardKL(2.0)], student, signal)
    with pytest.raises(ValueError, match=r"shape \(6, 3\)"):
        linear_losses([ForwardKL()], student, replace(signal, ids=signal.ids[1:]))
    for loss in (LogitMSE(), NormalisedKD()):
        with pytest.raises(ValueError, match="compares logits"):
            linear_losses([loss], student, signal, targets)
    assert not ReverseKL().allows_bucketing
    assert not SkewReverseKL(0.0).allows_bucketing
    assert not AlphaBeta(1.0, 1.0).allows_bucketing
    short = (teachers[0], replace(teachers[1], weight=teachers[1].weight[1:], bias=None))
    with pytest.raises(ValueError, match="compared entry by entry"):
        linear_losses([ForwardKL()], student, MeanOfLogits(short, (0.5, 0.5)))
