"""Numbers with what they might have been: the same examples drawn again, and other seeds.

R resamples, E examples, S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_AT_ONCE = 2**22  # draws that are held at a time: 32 MB
_DEFINED = 0.9  # an interval is given where at least so many draws have a value


@dataclass(frozen=True)
class Resamples:
    """Examples drawn with replacement, as often as there are; models are compared on equal draws.

    The draws depend on nothing but these numbers. So are languages of equally many examples drawn
    alike, which is right for parallel test sets (a sentence is drawn in all its languages) and
    makes no difference to others.

    Attributes:
        examples: E.
        number: R.
        seed: of the draws.
    """

    examples: int
    number: int = 1000
    seed: int = 0

    def __iter__(self) -> Iterator[Floats]:
        """How often every example is drawn (some resamples, E), until all R had their turn."""
        random = np.random.default_rng((self.seed, self.examples))
        step = max(1, _AT_ONCE // max(1, self.examples))
        for start in range(0, self.number, step):
            rows = min(step, self.number - start)
            drawn = random.integers(self.examples, size=(rows, self.examples))
            places = drawn + self.examples * np.arange(rows)[:, None]
            counts = np.bincount(places.ravel(), minlength=rows * self.examples)
            yield counts.reshape(rows, self.examples).astype(np.float64)


@dataclass(frozen=True)
class Estimate:
    """A number as it is reported.

    Attributes:
        value: of all examples, a mean over seeds; None where undefined.
        low: end of the 95 % percentile interval over examples; None where undefined.
        high: the other end.
        spread: standard deviation over seeds; None of one seed.
        seeds: how many.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    seeds: int = 1


@dataclass(frozen=True, eq=False)
class Sampled:
    """A number, what it is on resamples and what it is by seed; NaN where undefined.

    Attributes:
        value: of all examples, a mean over seeds.
        draws: (R,) on each resample, a mean over seeds.
        by_seed: of all examples; a single entry where there are no seeds to speak of.
    """

    value: float
    draws: Floats
    by_seed: Mapping[int, float]

    @classmethod
    def constant(cls, value: float | None, number: int) -> Sampled:
        """A number that depends on no draw."""
        known = np.nan if value is None else value
        return cls(known, np.full(number, known), {0: known})

    @classmethod
    def over_seeds(cls, values: Mapping[int, float], draws: Mapping[int, Floats]) -> Sampled:
        """The mean over seeds of equal keys."""
        mean = float(np.mean(list(values.values())))
        return cls(mean, np.mean(list(draws.values()), axis=0), dict(values))

    @property
    def defined(self) -> bool:
        """Whether it is a number."""
        return bool(np.isfinite(self.value))

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The middle 95 % of the draws; None where too many have no value."""
        draws = self.draws[np.isfinite(self.draws)]
        if not self.defined or len(draws) < _DEFINED * len(self.draws):
            return None
        low, high = np.quantile(draws, (0.025, 0.975))
        return float(low), float(high)

    @property
    def estimate(self) -> Estimate:
        """As it is reported."""
        low, high = self.interval or (None, None)
        seeds = [value for value in self.by_seed.values() if np.isfinite(value)]
        spread = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None
        return Estimate(self.value if self.defined else None, low, high, spread, len(self.by_seed))


def combined(formula: Callable[..., Floats], *parts: Sampled) -> Sampled:
    """A function of numbers of the same draws and seeds, so that what is paired stays paired.

    Args:
        formula: elementwise, of as many arrays as there are parts; what it divides by 0 is
            undefined.
        parts: those of one seed go with every seed of the others; of the others, seeds that all
            have.
    """
    several = [set(part.by_seed) for part in parts if len(part.by_seed) > 1]
    seeds = sorted(set.intersection(*several)) if several else [0]

    def of_seed(part: Sampled, seed: int) -> float:
        alone = len(part.by_seed) == 1
        return next(iter(part.by_seed.values())) if alone else part.by_seed[seed]

    with np.errstate(divide="ignore", invalid="ignore"):
        value = formula(*(np.float64(part.value) for part in parts))
        draws = formula(*(part.draws for part in parts))
        by_seed = {
            seed: float(formula(*(np.float64(of_seed(part, seed)) for part in parts)))
            for seed in seeds
        }
    return Sampled(float(value), draws, by_seed)


def mean(*parts: Floats) -> Floats:
    """The unweighted mean, for `combined`."""
    total: Floats = np.asarray(sum(parts) / len(parts))
    return total
