"""Relations between positions written out as loops over single numbers; only Python's `cmath`.

Every number may be complex, so that the formulas can be differentiated by the complex step (see
`oracles.triple_loss.gradient`). Shapes, as nested lists: B sequences, T positions, W width.
Formulas: Wang et al. (2020), equations 4 to 8, and Wang et al. (2021), equations 5 to 8.
"""

from __future__ import annotations

import cmath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Number = float | complex
Places = Sequence[Sequence[Sequence[Number]]]


@dataclass(frozen=True)
class Side:
    """One model's queries and keys (B, T, W), and how many heads each of them has."""

    queries: Places
    keys: Places
    query_heads: int
    key_heads: int


def slice_of(row: Sequence[Number], head: int, heads: int) -> list[Number]:
    """The entries that belong to one head."""
    d = len(row) // heads
    return [row[head * d + i] for i in range(d)]


def scores_of(side: Side, head: int, heads: int, b: int, t: int, seen: list[int]) -> list[complex]:
    """q . k / sqrt(d) of one head and one query with the seen keys."""
    query = slice_of(side.queries[b][t], head * side.query_heads // heads, side.query_heads)
    scores = []
    for u in seen:
        key = slice_of(side.keys[b][u], head * side.key_heads // heads, side.key_heads)
        dot = 0j
        for x, y in zip(query, key, strict=True):
            dot += x * y
        scores.append(dot / cmath.sqrt(len(query)))
    return scores


def log_relation(
    side: Side, head: int, heads: int, b: int, t: int, seen: list[int]
) -> list[complex]:
    """log softmax over the seen keys of q . k / sqrt(d), of one head and one query."""
    scores = scores_of(side, head, heads, b, t, seen)
    top = max(z.real for z in scores)
    total = 0j
    for z in scores:
        total += cmath.exp(z - top)
    return [z - top - cmath.log(total) for z in scores]


def relation_kl(
    student: Side,
    teacher: Side,
    heads: int,
    mask: Sequence[Sequence[int]],
    segments: Sequence[Sequence[int]] | None = None,
    causal: bool = False,
) -> complex:
    """Sum over real positions t, mean over heads a, of sum_u p_atu (log p_atu - log q_atu)."""
    total = 0j
    for b, t, seen in queries_of(mask, segments, causal):
        for a in range(heads):
            log_p = log_relation(teacher, a, heads, b, t, seen)
            log_q = log_relation(student, a, heads, b, t, seen)
            for one, other in zip(log_p, log_q, strict=True):
                total += cmath.exp(one) * (one - other) / heads
    return total


def relation_mse(
    student: Side,
    teacher: Side,
    heads: int,
    of: str,
    mask: Sequence[Sequence[int]],
    segments: Sequence[Sequence[int]] | None = None,
    causal: bool = False,
) -> complex:
    """Sum over real positions t, mean over heads and seen keys, of (x_atu^S - x_atu^T)^2."""
    total = 0j
    for b, t, seen in queries_of(mask, segments, causal):
        for a in range(heads):
            found = [scores_of(side, a, heads, b, t, seen) for side in (student, teacher)]
            if of == "probabilities":
                logs = [log_relation(side, a, heads, b, t, seen) for side in (student, teacher)]
                found = [[cmath.exp(z) for z in row] for row in logs]
            for one, other in zip(*found, strict=True):
                total += (one - other) ** 2 / (heads * len(seen))
    return total


def queries_of(
    mask: Sequence[Sequence[int]], segments: Sequence[Sequence[int]] | None, causal: bool
) -> Iterator[tuple[int, int, list[int]]]:
    """Sequence and number of every real position, and which others it sees."""
    for b in range(len(mask)):
        for t in range(len(mask[b])):
            if mask[b][t] == 0:
                continue
            seen = []
            for u in range(len(mask[b])):
                same = segments is None or segments[b][t] == segments[b][u]
                if mask[b][u] == 1 and same and (u <= t or not causal):
                    seen.append(u)
            yield b, t, seen
