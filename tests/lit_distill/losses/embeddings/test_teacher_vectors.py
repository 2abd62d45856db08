"""Losses of vectors against loops over single numbers, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ranks import on_two_ranks
from torch import Tensor, distributed

from lit_distill.losses.embeddings.teacher_vectors import similarity_kl, vector_mse

TEMPERATURE = 0.3


def draw(count: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, dtype=torch.float64)


def slow_mse(student: Tensor, teacher: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for one, other in zip(student, teacher, strict=True):
        for a, b in zip(one, other, strict=True):
            total = total + (a - b) ** 2 / len(one)
    return total


def near(vectors: Tensor, place: int) -> list[Tensor]:
    def cos(a: Tensor, b: Tensor) -> Tensor:
        def dot(x: Tensor, y: Tensor) -> Tensor:
            return torch.stack([p * q for p, q in zip(x, y, strict=True)]).sum()

        return dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()

    others = [one for number, one in enumerate(vectors) if number != place]
    raised = [(cos(vectors[place], one) / TEMPERATURE).exp() for one in others]
    return [one / torch.stack(raised).sum() for one in raised]


def slow_kl(student: Tensor, teacher: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for place in range(len(student)):
        for p, q in zip(near(teacher, place), near(student, place), strict=True):
            total = total + p * (p / q).log()
    return total


def fast_kl(student: Tensor, teacher: Tensor) -> Tensor:
    return similarity_kl(student, teacher, TEMPERATURE)


@pytest.mark.parametrize(
    ("fast", "slow", "width"), [(vector_mse, slow_mse, 3), (fast_kl, slow_kl, 4)]
)
def test_values_and_gradients_are_those_of_loops(
    fast: Callable[[Tensor, Tensor], Tensor], slow: Callable[[Tensor, Tensor], Tensor], width: int
) -> None:
    teacher, gradients = draw(5, width, 0), []
    for loss in (fast, slow):
        student = draw(5, 3, 1).requires_grad_()
        value = loss(student, teacher)
        value.backward()
        gradients.append((value.detach(), student.grad))
    (found, mine), (expected, theirs) = gradients
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_mse_is_torchs_of_the_whole_batch_and_zero_only_of_equal_vectors() -> None:
    student, teacher = draw(5, 3, 1), draw(5, 3, 0)
    expected = torch.nn.functional.mse_loss(student, teacher)
    torch.testing.assert_close(vector_mse(student, teacher) / 5, expected)
    assert vector_mse(teacher, teacher) == 0 < vector_mse(student, teacher)


def test_similarities_know_no_rotation_and_no_length() -> None:
    teacher = draw(5, 3, 0)
    rotation = torch.linalg.qr(draw(3, 3, 2)).Q
    assert abs(float(fast_kl(7 * teacher @ rotation, teacher))) < 1e-12
    assert fast_kl(draw(5, 3, 1), teacher) > 1e-3


def test_order_of_texts_changes_nothing_and_one_text_has_nothing_to_learn() -> None:
    student, teacher, order = draw(5, 3, 1), draw(5, 3, 0), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(fast_kl(student[order], teacher[order]), fast_kl(student, teacher))
    alone = student[:1].clone().requires_grad_()
    value = fast_kl(alone, teacher[:1])
    value.backward()
    assert value == 0
    assert alone.grad is not None
    assert math.isfinite(float(alone.grad.sum()))


def test_two_ranks_are_one_process(tmp_path: Path) -> None:
    def work() -> None:
        distributed.init_process_group("gloo")
        rank, sizes = distributed.get_rank(), (2, 4)
        whole, teacher = draw(6, 3, 1).requires_grad_(), draw(6, 4, 0)
        expected = fast_kl(whole, teacher)
        expected.backward()
        own = whole.detach().split(sizes)[rank].clone().requires_grad_()
        loss = similarity_kl(own, teacher.split(sizes)[rank], TEMPERATURE, over_ranks=True)
        loss.backward()
        both = loss.detach().clone()
        distributed.all_reduce(both)
        torch.testing.assert_close(both, expected.detach(), rtol=1e-12, atol=0)
        assert whole.grad is not None
        torch.testing.assert_close(own.grad, whole.grad.split(sizes)[rank], rtol=0, atol=1e-12)
        distributed.destroy_process_group()

    on_two_ranks(work, tmp_path / "log.txt")
