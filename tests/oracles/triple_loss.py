"""The triple loss written out as loops over single numbers; nothing but Python's `cmath`.

Every number may be complex, so that `gradient` differentiates these very formulas by the complex
step f'(x) = Im f(x + ih) / h, which has no cancellation and is exact to the last digit.

Shapes, as nested lists (arrays with `.tolist()` first): B sequences, T positions, V vocabulary,
D width. Formulas: Sanh et al. (2019), section 3, with a true KL as the soft term.
"""

from __future__ import annotations

import cmath
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Number = float | complex
Vector = Sequence[Number]
IGNORED = -100
STEP = 1e-100


@dataclass(frozen=True)
class Sums:
    """Unnormalised sums of the terms, their counts, and the weighted total of the means."""

    kd: complex
    mlm: complex
    cos: complex
    mse: complex
    soft_rows: int
    masked: int
    tokens: int
    total: complex


def log_softmax(logits: Vector, temperature: float = 1.0) -> list[complex]:
    """log of exp(z_v / T) over its sum."""
    scaled = [complex(z) / temperature for z in logits]
    top = max(z.real for z in scaled)
    total = 0j
    for z in scaled:
        total += cmath.exp(z - top)
    return [z - top - cmath.log(total) for z in scaled]


def forward_kl(
    student: Vector, teacher: Vector, temperature: float = 1.0, t_squared: bool = True
) -> complex:
    """T^2 sum_v p_v (log p_v - log q_v)."""
    log_p, log_q = log_softmax(teacher, temperature), log_softmax(student, temperature)
    total = 0j
    for v in range(len(log_p)):
        total += cmath.exp(log_p[v]) * (log_p[v] - log_q[v])
    return total * temperature**2 if t_squared else total


def cross_entropy(student: Vector, target: int) -> complex:
    """-log q_target."""
    return -log_softmax(student)[target]


def squared_distance(student: Vector, teacher: Vector) -> complex:
    """sum_i (a_i - b_i)^2."""
    total = 0j
    for a, b in zip(student, teacher, strict=True):
        total += (a - b) * (a - b)
    return total


def cosine_distance(student: Vector, teacher: Vector) -> complex:
    """1 - a.b / (|a| |b|)."""
    dot, a_square, b_square = 0j, 0j, 0j
    for a, b in zip(student, teacher, strict=True):
        dot += a * b
        a_square += a * a
        b_square += b * b
    return 1 - dot / (cmath.sqrt(a_square) * cmath.sqrt(b_square))


def project(
    row: Vector, weight: Sequence[Vector], bias: Vector | None = None, cap: float | None = None
) -> list[complex]:
    """Logits of one hidden row: z_v = sum_d w_vd h_d + b_v, or c tanh(z_v / c) under a cap c."""
    logits = []
    for v in range(len(weight)):
        z = 0j if bias is None else complex(bias[v])
        for w, h in zip(weight[v], row, strict=True):
            z += w * h
        logits.append(z if cap is None else cap * cmath.tanh(z / cap))
    return logits


def triple_loss(
    student_logits: Sequence[Sequence[Vector]],
    teacher_logits: Sequence[Sequence[Vector]],
    student_states: Sequence[Sequence[Vector]],
    teacher_states: Sequence[Sequence[Vector]],
    mask: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    temperature: float = 2.0,
    weights: tuple[float, float, float, float] = (5.0, 2.0, 1.0, 0.0),
    restrict_kd_to_mask: bool = False,
) -> Sums:
    """Position by position.

    Args:
        student_logits: (B, T, V).
        teacher_logits: (B, T, V).
        student_states: (B, T, D), the last hidden states.
        teacher_states: (B, T, D).
        mask: (B, T), 1 at real positions.
        labels: (B, T), the token to predict, `IGNORED` where none is.
        temperature: T of the soft term.
        weights: of kd, mlm, cos, mse.
        restrict_kd_to_mask: soft term and mse on labelled positions only.
    """
    kd, mlm, cos, mse = 0j, 0j, 0j, 0j
    soft_rows, masked, tokens = 0, 0, 0
    for b in range(len(mask)):
        for t in range(len(mask[b])):
            if mask[b][t] == 0:
                continue
            student, teacher = student_logits[b][t], teacher_logits[b][t]
            labelled = labels[b][t] != IGNORED
            tokens += 1
            cos += cosine_distance(student_states[b][t], teacher_states[b][t])
            if labelled:
                masked += 1
                mlm += cross_entropy(student, labels[b][t])
            if labelled or not restrict_kd_to_mask:
                soft_rows += 1
                kd += forward_kl(student, teacher, temperature)
                mse += squared_distance(student, teacher)
    total = weights[0] * kd / max(soft_rows, 1) + weights[1] * mlm / max(masked, 1)
    total += weights[2] * cos / max(tokens, 1) + weights[3] * mse / max(soft_rows, 1)
    return Sums(kd, mlm, cos, mse, soft_rows, masked, tokens, total)


def gradient(function: Callable[[list[Number]], complex], point: Sequence[float]) -> list[float]:
    """All partial derivatives of a real analytic function at a point, one evaluation each."""
    partials = []
    for i in range(len(point)):
        stepped: list[Number] = list(point)
        stepped[i] = complex(point[i], STEP)
        partials.append(function(stepped).imag / STEP)
    return partials
