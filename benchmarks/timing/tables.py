"""The table of a side-by-side measurement in Markdown, and what ours had to show.

Several invocations of the same command are summed up by the median of their medians; a line counts
as met when the lower quartile of the invocations' medians is under it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from timing.side_by_side import Measured, Row

OURS, FLOOR = "ours", "floor"
EQUAL = {"float32": (1e-5, 1e-6), "bfloat16": (2e-2, 2e-2)}
"""Relative or absolute distance of a loss from the float64 reference that rounding explains."""
HEADER = (
    "| workload | candidate | CPU ms | over the floor | wall | MiB above start | first loss "
    "| against float64 | |\n|---|---|---:|---|---:|---:|---:|---|---|"
)
SHARE = 0.5
"""Ours has to take at most this share of a peer's time, and of the best peer's memory."""


@dataclass(frozen=True)
class Summary:
    """A ratio over all invocations.

    Attributes:
        median: of the invocations' medians.
        low, high: quartiles of all rounds.
        best: lower quartile of the invocations' medians.
    """

    median: float
    low: float
    high: float
    best: float


def summary(invocations: Sequence[Sequence[float]]) -> Summary:
    """Of the ratios of the rounds of each invocation."""
    medians = [statistics.median(each) for each in invocations]
    low, _, high = _quartiles([ratio for each in invocations for ratio in each])
    return Summary(statistics.median(medians), low, high, _quartiles(medians)[0])


def table(invocations: Sequence[Sequence[Measured]], dtype: str) -> str:
    """One table for all workloads, with notes and verdicts under it.

    Args:
        invocations: what each invocation measured, the same workloads in the same order.
        dtype: of the models.
    """
    notes: list[str] = []
    lines = [HEADER]
    for suite in zip(*invocations, strict=True):
        for number, name in enumerate(suite[0].rows):
            title = suite[0].name if number == 0 else ""
            lines.append(f"| {title} | {_line(suite, name, dtype, notes)} |")
    lines += ["", *(f"{i}. {note}" for i, note in enumerate(notes, 1)), ""]
    for suite in zip(*invocations, strict=True):
        lines += [f"- {suite[0].name}: {verdict}" for verdict in verdicts(suite)]
    return "\n".join(lines)


def verdicts(suite: Sequence[Measured]) -> Iterator[str]:
    """How ours compares in one workload, and whether it shows what it has to."""
    first = suite[0]
    if OURS not in first.rows or _fails(suite, OURS):
        return
    if first.over_floor is not None:
        own = _ratio(suite, OURS, FLOOR)
        yield (
            f"ours, time over the floor's: {own.best:.2f}, at most {first.over_floor}: "
            f"{_met(own.best <= first.over_floor)}"
        )
    peers = [n for n, r in first.rows.items() if r.peer and not r.other_loss]
    peers = [name for name in peers if not _fails(suite, name)]
    if not peers:
        return
    shares = {name: _ratio(suite, OURS, name).best for name in peers}
    closest = max(shares, key=lambda name: shares[name])
    peaks = {name: _peak(suite, name) for name in peers}
    best = min(peaks, key=lambda name: peaks[name])
    for text, share in (
        (f"time over the fastest package's ({closest})", shares[closest]),
        (f"memory over the smallest package's ({best})", _peak(suite, OURS) / peaks[best]),
    ):
        limit = f", at most {SHARE}: {_met(share <= SHARE)}" if first.twice else ""
        yield f"ours, {text}: {share:.2f}{limit}"


def _line(suite: Sequence[Measured], name: str, dtype: str, notes: list[str]) -> str:
    rows = [measured.rows[name] for measured in suite]
    row = rows[0]
    if row.note and row.note not in notes:
        notes.append(row.note)
    mark = f"[{notes.index(row.note) + 1}]" if row.note else ""
    failures = [each.failure for each in rows if each.failure]
    if failures:
        return f"{name} | does not run: {failures[0]} | | | | | | {mark}"
    over, wall = _ratio(suite, name, FLOOR), _ratio(suite, name, FLOOR, "wall")
    cells = [
        name,
        f"{statistics.median(statistics.median(each.cpu) for each in rows):.0f}",
        f"{over.median:.2f} [{over.low:.2f}, {over.high:.2f}]",
        f"{wall.median:.2f}",
        f"{_peak(suite, name):.0f}",
        f"{row.loss:.4f}",
        _agreement(suite[0], row, dtype),
        mark,
    ]
    return " | ".join(cells)


def _agreement(measured: Measured, row: Row, dtype: str) -> str:
    """Whether the first loss is the float64 reference's."""
    if row.other_loss or measured.reference is None or row.loss is None:
        return "another loss"
    absolute = row.loss - row.offset - measured.reference
    distance = absolute / abs(measured.reference)
    if abs(distance) > EQUAL[dtype][0] and abs(absolute) > EQUAL[dtype][1]:
        return f"differs by {100 * distance:+.2g} %"
    if row.offset:
        return f"equal but for {row.offset:+.4f} ({abs(distance):.0e})"
    return f"equal ({abs(distance):.0e})"


def _ratio(suite: Sequence[Measured], name: str, other: str, clock: str = "cpu") -> Summary:
    """Times of one candidate over another's of the same round."""
    pairs = [(getattr(m.rows[name], clock), getattr(m.rows[other], clock)) for m in suite]
    return summary([[a / b for a, b in zip(*pair, strict=True)] for pair in pairs])


def _peak(suite: Sequence[Measured], name: str) -> float:
    return statistics.median(m.rows[name].peak or 0.0 for m in suite)


def _fails(suite: Sequence[Measured], name: str) -> bool:
    """Whether a candidate did not run in some invocation."""
    return any(measured.rows[name].failure for measured in suite)


def _met(truth: bool) -> str:
    return "met" if truth else "NOT met"


def _quartiles(values: Sequence[float]) -> list[float]:
    """The three; of a single value itself."""
    if len(values) == 1:
        return [values[0]] * 3
    return statistics.quantiles(values, n=4, method="inclusive")
