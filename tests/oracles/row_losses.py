"""Losses of one row of logits as loops over single numbers; nothing but Python's `cmath`.

Numbers may be complex, for derivatives by the complex step; see `oracles.triple_loss`.
"""

from __future__ import annotations

import cmath

from oracles.triple_loss import Number, Vector, log_softmax


def reverse_kl(student: Vector, teacher: Vector, temperature: float = 1.0) -> complex:
    """sum_v q_v (log q_v - log p_v)."""
    log_p, log_q = log_softmax(teacher, temperature), log_softmax(student, temperature)
    total = 0j
    for v in range(len(log_p)):
        total += cmath.exp(log_q[v]) * (log_q[v] - log_p[v])
    return total


def soft_cross_entropy(student: Vector, teacher: Vector, temperature: float = 1.0) -> complex:
    """-sum_v p_v log q_v."""
    log_p, log_q = log_softmax(teacher, temperature), log_softmax(student, temperature)
    total = 0j
    for v in range(len(log_p)):
        total -= cmath.exp(log_p[v]) * log_q[v]
    return total


def jensen_shannon(
    student: Vector, teacher: Vector, beta: float, temperature: float = 1.0
) -> complex:
    """beta KL(p || m) + (1 - beta) KL(q || m)."""
    log_p, log_q = log_softmax(teacher, temperature), log_softmax(student, temperature)
    total = 0j
    for v in range(len(log_p)):
        p, q = cmath.exp(log_p[v]), cmath.exp(log_q[v])
        log_m = cmath.log(beta * p + (1 - beta) * q)
        total += beta * p * (log_p[v] - log_m) + (1 - beta) * q * (log_q[v] - log_m)
    return total


def skew_kl(student: Vector, teacher: Vector, alpha: float, temperature: float = 1.0) -> complex:
    """KL(p || alpha p + (1 - alpha) q)."""
    log_p, log_q = log_softmax(teacher, temperature), log_softmax(student, temperature)
    total = 0j
    for v in range(len(log_p)):
        p, q = cmath.exp(log_p[v]), cmath.exp(log_q[v])
        total += p * (log_p[v] - cmath.log(alpha * p + (1 - alpha) * q))
    return total


def skew_reverse_kl(
    student: Vector, teacher: Vector, alpha: float, temperature: float = 1.0
) -> complex:
    """KL(q || (1 - alpha) p + alpha q)."""
    log_p, log_q = log_softmax(teacher, temperature), log_softmax(student, temperature)
    total = 0j
    for v in range(len(log_p)):
        p, q = cmath.exp(log_p[v]), cmath.exp(log_q[v])
        total += q * (log_q[v] - cmath.log((1 - alpha) * p + alpha * q))
    return total


def total_variation(student: Vector, teacher: Vector, temperature: float = 1.0) -> complex:
    """1/2 sum_v |p_v - q_v|."""
    log_p, log_q = log_softmax(teacher, temperature), log_softmax(student, temperature)
    total = 0j
    for v in range(len(log_p)):
        difference = cmath.exp(log_p[v]) - cmath.exp(log_q[v])
        total += difference if difference.real >= 0 else -difference
    return total / 2


def alpha_beta(
    student: Vector, teacher: Vector, alpha: float, beta: float, temperature: float = 1.0
) -> complex:
    """-1/(ab) sum_v [p^a q^b - a/(a+b) p^(a+b) - b/(a+b) q^(a+b)]."""
    log_p, log_q = log_softmax(teacher, temperature), log_softmax(student, temperature)
    both = alpha + beta
    total = 0j
    for v in range(len(log_p)):
        p, q = cmath.exp(log_p[v]), cmath.exp(log_q[v])
        total += p**alpha * q**beta - alpha / both * p**both - beta / both * q**both
    return -total / (alpha * beta)


def smoothed_cross_entropy(student: Vector, target: int, smoothing: float) -> complex:
    """-(1 - s) log q_y - s/V sum_v log q_v."""
    log_q = log_softmax(student)
    total = 0j
    for v in range(len(log_q)):
        share = smoothing / len(log_q) + (1 - smoothing if v == target else 0)
        total -= share * log_q[v]
    return total


def focal(student: Vector, target: int, gamma: float) -> complex:
    """-(1 - q_y)^gamma log q_y."""
    log_q = log_softmax(student)[target]
    return -((1 - cmath.exp(log_q)) ** gamma) * log_q


def symmetric_cross_entropy(
    student: Vector, target: int, alpha: float, beta: float, log_zero: float
) -> complex:
    """alpha times -log q_y, and beta times -sum_v q_v log y_v with log 0 = A."""
    log_q = log_softmax(student)
    reverse = 0j
    for v in range(len(log_q)):
        if v != target:
            reverse -= cmath.exp(log_q[v]) * log_zero
    return -alpha * log_q[target] + beta * reverse


def normalised_kd(
    student: Vector, teacher: Vector, target: int, gamma: float, temperature: float = 1.0
) -> complex:
    """-p_y log q_y + gamma T^2 KL of what is left of both without y."""
    p_y = cmath.exp(log_softmax(teacher)[target])
    total = -p_y * log_softmax(student)[target]
    left_teacher: list[Number] = [z for v, z in enumerate(teacher) if v != target]
    left_student: list[Number] = [z for v, z in enumerate(student) if v != target]
    log_p, log_q = log_softmax(left_teacher, temperature), log_softmax(left_student, temperature)
    for v in range(len(log_p)):
        total += gamma * temperature**2 * cmath.exp(log_p[v]) * (log_p[v] - log_q[v])
    return total


def distance(student: Vector, teacher: Vector, gamma: float) -> float:
    """(1 - cos(z_student, z_teacher))^gamma, of numbers that do not move."""
    pairs = [(complex(s).real, complex(t).real) for s, t in zip(student, teacher, strict=True)]
    product = sum(s * t for s, t in pairs)
    lengths = sum(s * s for s, _ in pairs) ** 0.5 * sum(t * t for _, t in pairs) ** 0.5
    return float((1 - product / lengths) ** gamma)


def dynamic_temperature_kl(
    student: Vector,
    teacher: Vector,
    mean: float,
    temperature: float,
    beta: float = 1.0,
    gamma: float = 1.0,
) -> complex:
    """KL(p || q) at T0 + beta (mean - w), which is a constant to the derivative."""
    own = temperature + beta * (mean - distance(student, teacher, gamma))
    log_p, log_q = log_softmax(teacher, own), log_softmax(student, own)
    total = 0j
    for v in range(len(log_p)):
        total += cmath.exp(log_p[v]) * (log_p[v] - log_q[v])
    return total
