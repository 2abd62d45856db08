"""How far a file is from its model: differences, decisions, distributions, per language.

Shapes: N rows, V outputs, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lit_distill.tools.delivering.deliverables.deliverable import Deliverable
from lit_distill.tools.delivering.gate.examples import Example, batches
from lit_distill.tools.delivering.gate.running import Floats, OnnxRunner, Runner

TOGETHER = 4
"""Texts in a padded batch."""
TIE = 1e-4
"""Logits that the model itself holds apart by less are one decision: rounding decides."""
_AT_ONCE = 16  # rows whose distributions are in float64 at the same time


@dataclass(frozen=True)
class Parity:
    """One file against its model on the texts of one language.

    Attributes:
        texts: that were read.
        difference: largest difference of an output.
        agreement: share of rows whose largest output is the model's; of embeddings, of texts whose
            nearest other one is the model's; None of numbers.
        kl: mean KL from the model's distribution of a row to the file's, in nats; None where there
            is none.
        similarity: mean cosine of embeddings, correlation of numbers; None of logits.
        score: accuracy on labelled texts; None without such.
        own_score: the model's.
    """

    texts: int
    difference: float
    agreement: float | None
    kl: float | None
    similarity: float | None
    score: float | None = None
    own_score: float | None = None


@dataclass
class _Sums:
    """What is added up over the rows of a language."""

    texts: int = 0
    rows: int = 0
    difference: float = 0.0
    agreed: int = 0
    kl: float = 0.0
    pairs: list[tuple[Floats, Floats]] = field(default_factory=list)


def parities(
    what: Deliverable,
    model: Runner,
    files: Mapping[str, OnnxRunner],
    examples: Sequence[Example],
    together: int = TOGETHER,
) -> dict[str, Parity]:
    """Compares files with their model on the same texts.

    Args:
        what: they were made of.
        model: gives the outputs that are right.
        files: by name.
        examples: of one language.
        together: texts in a batch.
    """
    sums = {name: _Sums() for name in files}
    for some in batches(examples, together):
        right = model.rows(some)
        for name, runner in files.items():
            for one, other in zip(right, runner.rows(some), strict=True):
                _add(sums[name], one, other, what.decides)
    return {name: _parity(what, found) for name, found in sums.items()}


def _add(sums: _Sums, right: Floats, found: Floats, decides: bool) -> None:
    """Adds the rows of one text."""
    same = right.shape == found.shape and bool(np.isfinite(found).all())
    worst = float(np.abs(right - found).max()) if same else np.inf
    sums.texts += 1
    sums.difference = max(sums.difference, worst)
    if not decides:
        sums.pairs.append((right[0], found[0] if same else np.full_like(right[0], np.nan)))
        return
    sums.rows += len(right)
    if not same:
        sums.kl = np.inf
        return
    chosen = np.take_along_axis(right, found.argmax(-1)[:, None], -1)[:, 0]
    sums.agreed += int((chosen >= right.max(-1) - TIE).sum())
    for start in range(0, len(right), _AT_ONCE):
        sums.kl += _kl(right[start : start + _AT_ONCE], found[start : start + _AT_ONCE])


def _kl(right: Floats, found: Floats) -> float:
    """KL(model || file) of rows (N, V), summed."""
    logs = [_log_softmax(rows.astype(np.float64)) for rows in (right, found)]
    return float((np.exp(logs[0]) * (logs[0] - logs[1])).sum())


def _log_softmax(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = rows - rows.max(-1, keepdims=True)
    logs: NDArray[np.float64] = rows - np.log(np.exp(rows).sum(-1, keepdims=True))
    return logs


def _parity(what: Deliverable, sums: _Sums) -> Parity:
    if what.decides:
        return Parity(
            sums.texts, sums.difference, sums.agreed / sums.rows, sums.kl / sums.rows, None
        )
    right, found = (np.stack(side).astype(np.float64) for side in zip(*sums.pairs, strict=True))
    if what.embedding is None:
        return Parity(sums.texts, sums.difference, None, None, _correlation(right, found))
    units = [rows / np.linalg.norm(rows, axis=-1, keepdims=True) for rows in (right, found)]
    cosine = float((units[0] * units[1]).sum(-1).mean())
    return Parity(sums.texts, sums.difference, _same_neighbours(*units), None, cosine)


def _correlation(right: NDArray[np.float64], found: NDArray[np.float64]) -> float | None:
    """Of numbers (N, 1); None where the model gives all texts the same."""
    if len(right) < 3 or np.ptp(right) < TIE:
        return None
    spread = np.ptp(found)
    return float(np.corrcoef(right[:, 0], found[:, 0])[0, 1]) if spread > 0 else 0.0


def _same_neighbours(right: NDArray[np.float64], found: NDArray[np.float64]) -> float | None:
    """Share of texts (N, D) whose nearest other text is the same; None of too few."""
    if len(right) < 4:
        return None
    own, others = (side @ side.T for side in (right, found))
    for table in (own, others):
        np.fill_diagonal(table, -np.inf)
    chosen = np.take_along_axis(own, others.argmax(-1)[:, None], -1)[:, 0]
    return float((chosen >= own.max(-1) - TIE).mean())
