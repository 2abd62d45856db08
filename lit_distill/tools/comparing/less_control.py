"""How much better models are than a control, with intervals over the texts that both were asked.

Shapes: W windows of one language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000

Losses = Mapping[str, NDArray[np.float64]]
"""By language: (W, 2), sums of losses and numbers of targets of each window."""


@dataclass(frozen=True)
class Difference:
    """A model's loss less the control's, in nats per target; below 0 the model is better.

    Attributes:
        value: over all windows; of several languages, the mean over them.
        low: lower end of the 95 % interval over the choice of windows.
        high: its upper end.
    """

    value: float
    low: float
    high: float


def less_control(own: Losses, control: Losses) -> tuple[Difference, dict[str, Difference]]:
    """The difference of two models, as a mean over languages, and by language.

    Paired bootstrap: of each language W windows are drawn with replacement, the same for both
    models, 2,000 times; draws are the same for every model.

    Args:
        own: of the model.
        control: of the other, on the same targets.
    """
    generator = np.random.default_rng(0)
    values, drawn, found = [], [], {}
    for language, sums in own.items():
        gaps, counts = sums[:, 0] - control[language][:, 0], sums[:, 1]
        gaps, counts = gaps[counts > 0], counts[counts > 0]
        if not len(gaps):
            continue
        places = generator.integers(len(gaps), size=(DRAWS, len(gaps)))
        drawn.append(gaps[places].sum(1) / counts[places].sum(1))
        values.append(gaps.sum() / counts.sum())
        found[language] = _difference(values[-1], drawn[-1])
    return _difference(np.mean(values), np.mean(drawn, axis=0)), found


def _difference(value: np.floating, draws: NDArray[np.float64]) -> Difference:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Difference(float(value), float(low), float(high))
