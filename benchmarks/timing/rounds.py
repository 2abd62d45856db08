"""Steps timed against a floor: interleaved rounds in random order, ratios within a round."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping

from timing.lightning_steps import LightningSteps

Step = Callable[[], float]
"""One training step; its loss."""


def milliseconds(step: Step) -> float:
    """CPU time of one step, of all threads."""
    start = time.process_time()
    step()
    return 1e3 * (time.process_time() - start)


def compare(title: str, steps: Mapping[str, Step], rounds: int) -> None:
    """Prints one line per candidate: median time, and ratio to "floor" with quartiles."""
    first = {name: step() for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(steps), len(steps)):
            times[name].append(milliseconds(steps[name]))
    for name in steps:
        ratios = [a / b for a, b in zip(times[name], times["floor"], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        print(
            f"{title:22} {name:9} {statistics.median(times[name]):6.0f} CPU ms "
            f"{median:6.2f} x floor [{low:.2f}, {high:.2f}]  first loss {first[name]:.4f}",
            flush=True,
        )
    for step in steps.values():
        if isinstance(step, LightningSteps):
            step.close()
