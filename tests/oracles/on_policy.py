"""Writing and its loss as loops over single texts: whole forwards, no cache, no padding."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

Logits = Callable[[list[int], list[int]], list[float]]
"""Logits of the token that follows a prompt and what was written after it."""


def probabilities(logits: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Softmax, by loops."""
    largest = max(logits)
    powers = [math.exp((z - largest) / temperature) for z in logits]
    total = sum(powers)
    return [power / total for power in powers]


def continuation(
    logits: Logits,
    prompt: list[int],
    draws: Sequence[float],
    eos: Collection[int],
    temperature: float,
) -> list[int]:
    """One token after the other: the first whose cumulated probability passes the draw."""
    written: list[int] = []
    for draw in draws:
        shares = probabilities(logits(prompt, written), temperature)
        token, below = 0, shares[0]
        while below <= draw:
            token += 1
            below += shares[token]
        written.append(token)
        if token in eos:
            break
    return written


def mean_along(
    value: Callable[[list[float], list[float], int], float],
    student: Logits,
    teacher: Logits,
    texts: Sequence[tuple[list[int], list[int]]],
) -> float:
    """Mean over all written tokens of all texts of a value of both models' logits before each."""
    values = [
        value(student(prompt, written[:n]), teacher(prompt, written[:n]), written[n])
        for prompt, written in texts
        for n in range(len(written))
    ]
    return sum(values) / len(values)
