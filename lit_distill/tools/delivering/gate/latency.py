"""How long a text takes in the model and in the files made of it, on this machine, now."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lit_distill.tools.delivering.deliverables.deliverable import Deliverable
from lit_distill.tools.delivering.gate.examples import Example, batches, padded
from lit_distill.tools.delivering.gate.running import OnnxRunner, TorchRunner

TOGETHER = 8
"""Texts in a batch."""
_TEXTS, _ROUNDS, _SECONDS = 32, 3, 20.0


@dataclass(frozen=True)
class Latency:
    """Medians, in milliseconds of wall time for a text: one by one, and in batches."""

    alone: float
    together: float


def latencies(
    what: Deliverable,
    model: TorchRunner,
    files: Mapping[str, OnnxRunner],
    examples: Sequence[Example],
) -> dict[str, Latency]:
    """Times model and files in turns, so that a slow moment hits all.

    Args:
        what: they were made of.
        model: called `torch` in what is returned.
        files: by name.
        examples: of all languages; a part of them, evenly taken, is read.
    """
    runners: dict[str, Callable[[Example], Any]] = {
        "torch": model.forward,
        **{name: runner.forward for name, runner in files.items()},
    }
    some = examples[:: max(1, len(examples) // _TEXTS)][:_TEXTS]
    times = {
        size: _times(runners, [padded(batch, what.padding) for batch in batches(some, size)])
        for size in (1, TOGETHER)
    }
    return {name: Latency(times[1][name], times[TOGETHER][name]) for name in runners}


def _times(
    runners: Mapping[str, Callable[[Example], Any]], work: Sequence[Example]
) -> dict[str, float]:
    """Median milliseconds for a text, by name."""
    found: dict[str, list[float]] = {name: [] for name in runners}
    for run in runners.values():
        run(work[0])  # the first call is slower
    end = time.perf_counter() + _SECONDS
    for batch in [*work] * _ROUNDS:
        for name, run in runners.items():
            start = time.perf_counter()
            run(batch)
            seconds = time.perf_counter() - start
            found[name].append(1000 * seconds / len(batch["input_ids"]))
        if time.perf_counter() > end:
            break
    return {name: statistics.median(values) for name, values in found.items()}
