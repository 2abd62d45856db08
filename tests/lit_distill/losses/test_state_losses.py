"""Losses of hidden states that a configuration names, against loops over single numbers."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from oracles.triple_loss import Number, cosine_distance, gradient

from lit_distill.errors import UserError
from lit_distill.losses import (
    StateCosine,
    StateL1,
    StateL1Cosine,
    StateLogSigmoidCosine,
    StateLoss,
    StateMSE,
    StateNormalisedMSE,
    StateSmoothL1,
)

Formula = Callable[[Sequence[Number], Sequence[float]], complex]


def size(x: Number) -> complex:
    """|x|, differentiable by the complex step."""
    return complex(x) if complex(x).real >= 0 else -complex(x)


def normalised(row: Sequence[Number], eps: float) -> list[complex]:
    mean = sum(map(complex, row)) / len(row)
    variance = sum((complex(x) - mean) ** 2 for x in row) / len(row)
    return [(complex(x) - mean) / cmath.sqrt(variance + eps) for x in row]


def mse(student: Sequence[Number], teacher: Sequence[Number]) -> complex:
    total = sum((complex(s) - t) ** 2 for s, t in zip(student, teacher, strict=True))
    return total / len(student)


def l1(student: Sequence[Number], teacher: Sequence[float]) -> complex:
    return sum(size(s - t) for s, t in zip(student, teacher, strict=True)) / len(student)


def smooth_l1(student: Sequence[Number], teacher: Sequence[float], beta: float) -> complex:
    total = 0j
    for s, t in zip(student, teacher, strict=True):
        x = size(s - t)
        total += x * x / (2 * beta) if x.real < beta else x - beta / 2
    return total / len(student)


def l1_cosine(student: Sequence[Number], teacher: Sequence[float], weight: float) -> complex:
    similarity = 1 - cosine_distance(student, teacher)
    return l1(student, teacher) + weight * cmath.log(1 + cmath.exp(-similarity))


def log_sigmoid_cosine(student: Sequence[Number], teacher: Sequence[float]) -> complex:
    return cmath.log(1 + cmath.exp(cosine_distance(student, teacher) - 1))


CASES: dict[str, tuple[StateLoss, Formula]] = {
    "mse": (StateMSE(), mse),
    "l1": (StateL1(), l1),
    "smooth_l1": (StateSmoothL1(0.7), lambda s, t: smooth_l1(s, t, 0.7)),
    "cosine": (StateCosine(), cosine_distance),
    "log_sigmoid_cosine": (StateLogSigmoidCosine(), log_sigmoid_cosine),
    "l1_cosine": (StateL1Cosine(0.6), lambda s, t: l1_cosine(s, t, 0.6)),
    "normalised": (StateNormalisedMSE(), lambda s, t: mse(s, normalised(t, 1e-5))),
    "normalised, both": (
        StateNormalisedMSE(both=True),
        lambda s, t: mse(normalised(s, 1e-5), normalised(t, 1e-5)),
    ),
}
every = pytest.mark.parametrize(("loss", "formula"), CASES.values(), ids=CASES.keys())


def draw() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 7, generator=generator, dtype=torch.float64)
    return student.requires_grad_(), 2 * teacher


@every
def test_value_and_gradient_are_the_oracles(loss: StateLoss, formula: Formula) -> None:
    student, teacher = draw()
    value = loss(student, teacher.requires_grad_())
    value.backward()
    assert teacher.grad is None
    rows = list(zip(student.tolist(), teacher.tolist(), strict=True))
    assert value.item() == pytest.approx(sum(formula(s, t).real for s, t in rows), rel=1e-12)
    expected = [gradient(lambda z, t=t: formula(z, t), s) for s, t in rows]
    assert student.grad is not None
    torch.testing.assert_close(
        student.grad, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-13
    )


@every
def test_low_precision_is_computed_in_float32(loss: StateLoss, formula: Formula) -> None:
    student, teacher = (x.detach().bfloat16() for x in draw())
    found = loss(student, teacher)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(loss(student.double(), teacher.double()).item(), rel=1e-5)


@every
def test_other_shapes_are_refused(loss: StateLoss, formula: Formula) -> None:
    student, teacher = draw()
    with pytest.raises(ValueError, match="cannot be compared"):
        loss(student, teacher[:, :6])


def test_what_equal_states_leave() -> None:
    student, _ = draw()
    for name, (loss, _) in CASES.items():
        left = loss(student, student.detach()).item() / len(student)
        if name in ("l1_cosine", "log_sigmoid_cosine"):  # -log sigmoid(1) is their floor
            weight = 0.6 if name == "l1_cosine" else 1.0
            assert left == pytest.approx(weight * math.log(1 + math.exp(-1)), rel=1e-12)
        elif name != "normalised":
            assert left == 0


def test_normalised_targets_do_not_see_scale_and_offset() -> None:
    student, teacher = draw()
    one, other = (StateNormalisedMSE(eps=1e-30)(student, t) for t in (teacher, 50 * teacher + 3))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StateSmoothL1(0.0), r"StateSmoothL1.beta is 0"),
        (lambda: StateL1Cosine(-1.0), r"StateL1Cosine.weight is -1"),
        (lambda: StateNormalisedMSE(eps=0.0), r"StateNormalisedMSE.eps is 0"),
    ],
)
def test_numbers_outside_of_their_range_are_refused(
    make: Callable[[], StateLoss], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make()
