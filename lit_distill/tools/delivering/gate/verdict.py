"""What of an export is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean

from lit_distill.tools.delivering.deliverables.choices import Gate
from lit_distill.tools.delivering.gate.examples import EDGES
from lit_distill.tools.delivering.gate.parity import Parity
from lit_distill.tools.delivering.gate.scores import Score

FLOAT32, INT8 = "float32", "int8"
"""Names of the files."""


def faults(
    found: Mapping[str, Mapping[str, Parity]], scored: Mapping[str, Score], gate: Gate
) -> list[str]:
    """What lies beyond the gate, a phrase each; nothing of an export that is as its model.

    Args:
        found: by file and language.
        scored: by language.
        gate: the bounds. A number that is none (NaN) is beyond any.
    """
    return [
        *_of_float32(found.get(FLOAT32, {}), gate),
        *_of_int8(found.get(INT8, {}), gate),
        *_of_scores(scored, gate),
    ]


def _of_float32(rows: Mapping[str, Parity], gate: Gate) -> Iterator[str]:
    for language, row in rows.items():
        where = f"{FLOAT32} {language}"
        yield from _most(f"{where}: largest difference", row.difference, gate.difference)
        yield from _least(f"{where}: agreement", row.agreement, gate.agreement)


def _of_int8(rows: Mapping[str, Parity], gate: Gate) -> Iterator[str]:
    """Single texts of extreme length tell nothing of shares; that they are numbers does."""
    languages = {name: row for name, row in rows.items() if name != EDGES}
    for language, row in rows.items():
        if not row.difference < float("inf"):
            yield f"{INT8} {language}: outputs that are no numbers"
    for language, row in languages.items():
        where = f"{INT8} {language}"
        yield from _least(f"{where}: similarity", row.similarity, gate.int8_similarity)
        if row.kl is not None:  # the neighbours of embeddings are told, and judged by similarity
            yield from _least(f"{where}: agreement", row.agreement, gate.int8_worst_agreement)
            yield from _most(f"{where}: KL", row.kl, gate.int8_worst_kl)
    decided = [row for row in languages.values() if row.kl is not None]
    if decided:
        shares = fmean(row.agreement for row in decided if row.agreement is not None)
        yield from _least(f"{INT8}, mean: agreement", shares, gate.int8_agreement)
        kl = fmean(row.kl for row in decided if row.kl is not None)
        yield from _most(f"{INT8}, mean: KL", kl, gate.int8_kl)


def _of_scores(scored: Mapping[str, Score], gate: Gate) -> Iterator[str]:
    for language, score in scored.items():
        for name, value in score.files.items():
            lost = score.model - value
            yield from _most(f"{name} {language}: lost accuracy", lost, gate.lost_score)


def _most(what: str, value: float, bound: float) -> Iterator[str]:
    if not value <= bound + 1e-12:
        yield f"{what} {value:.3g}, at most {bound:g}"


def _least(what: str, value: float | None, bound: float) -> Iterator[str]:
    if value is not None and not value >= bound - 1e-12:
        yield f"{what} {value:.4f}, at least {bound:g}"
