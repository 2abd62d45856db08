"""How much of each language is fed: shares of tokens, not of sentences.

L languages. A sampler is chosen by `class_path`; the plan (plan.py) turns its shares of tokens into
numbers of windows, so that a language of long texts is not over-fed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray

from lit_distill.errors import UserError
from lit_distill.knobs import NotNegative, check_knobs

Floats = NDArray[np.float64]


class Sampler(ABC):
    """Decides the share of every language in the training tokens."""

    def shares(
        self, tokens: Mapping[str, int], source_weights: Mapping[str, float] | None = None
    ) -> Floats:
        """Shares of tokens (L,), in the order of `tokens`; they add up to one.

        Args:
            tokens: tokens at hand, by language.
            source_weights: extra factors of the sources, by language; a missing one is 1.

        Raises:
            UserError: a language has no tokens, a weight is negative, or nothing is left to sample.
        """
        empty = [language for language, count in tokens.items() if count <= 0]
        if not tokens or empty:
            raise UserError(f"No training text for {', '.join(empty) or 'any language'}.")
        factors = np.array([(source_weights or {}).get(language, 1.0) for language in tokens])
        scores = self.scores(tokens) * factors
        if not np.isfinite(scores).all() or (scores < 0).any() or scores.sum() <= 0:
            raise UserError(
                f"Sampling weights must be finite, not negative and not all zero; found "
                f"{dict(zip(tokens, scores.tolist(), strict=True))}."
            )
        return np.asarray(scores / scores.sum())

    @abstractmethod
    def scores(self, tokens: Mapping[str, int]) -> Floats:
        """Unnormalised shares (L,), before source weights."""


@dataclass(frozen=True)
class Proportional(Sampler):
    """Every language by its number of tokens: all text is seen equally often."""

    def scores(self, tokens: Mapping[str, int]) -> Floats:
        """The token counts."""
        return np.array(list(tokens.values()), dtype=np.float64)


@dataclass(frozen=True)
class Weights(Sampler):
    """Given shares of tokens.

    Args:
        weights: one number for every language and mix of the corpus; they need not add up to one.
    """

    weights: dict[str, NotNegative]

    def __post_init__(self) -> None:
        check_knobs(Weights, vars(self))

    def scores(self, tokens: Mapping[str, int]) -> Floats:
        """The given weights.

        Raises:
            UserError: a language is unknown or has no weight.
        """
        for name in self.weights:
            if name not in tokens:
                close = get_close_matches(name, tokens, n=1, cutoff=0.5)
                hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(tokens)}."
                raise UserError(f"sampler.weights names {name!r}, which is not in the data: {hint}")
        missing = [name for name in tokens if name not in self.weights]
        if missing:
            raise UserError(
                f"sampler.weights has no number for {', '.join(missing)}: add one (0 leaves a "
                "language out of training) or remove its source."
            )
        return np.array([self.weights[name] for name in tokens], dtype=np.float64)


Flattening = Annotated[float, Interval(ge=1e-3, le=math.inf), "1 is proportional"]
"""A temperature of sampling; at infinity all languages are equal."""


@dataclass(frozen=True)
class Temperature(Sampler):
    """Shares proportional to tokens ** (1 / temperature): small languages are fed more often.

    Args:
        temperature: 1 is proportional, infinity is uniform. Papers often give
            alpha = 1 / temperature: 0.3 in XLM-R and mT5 (temperature 3.33), 0.7 in mBERT (1.43).

    Source: Conneau and Lample, 2019, "Cross-lingual language model pretraining", section 3.1.
    """

    temperature: Flattening = 1.0

    def __post_init__(self) -> None:
        check_knobs(Temperature, vars(self))

    def scores(self, tokens: Mapping[str, int]) -> Floats:
        """Counts relative to the largest, to the power 1 / temperature."""
        counts = np.array(list(tokens.values()), dtype=np.float64)
        return np.asarray((counts / counts.max()) ** (1.0 / self.temperature))


def shares_of_trained(
    sampler: Sampler, tokens: Mapping[str, int], source_weights: Mapping[str, float] | None = None
) -> Floats:
    """Shares (L,) of languages some of which are measured only: those have no tokens, and none.

    Args:
        sampler: of all others.
        tokens: tokens at hand, by language.
        source_weights: see `Sampler.shares`.
    """
    trained = {language: count for language, count in tokens.items() if count}
    shares = np.zeros(len(tokens))
    shares[[count > 0 for count in tokens.values()]] = sampler.shares(trained, source_weights)
    return shares


def mixture_counts(token_counts: NDArray[Any], shares: Floats) -> Floats:
    """How often each token (V,) occurs in the mixture that is sampled, in a corpus of equal size.

    With the raw concatenation instead, a script of few texts would look rare although it is
    sampled often, and frequency-smoothed masking would mask hardly anything else.

    Args:
        token_counts: (L, V) occurrences in each language.
        shares: (L,) shares of tokens.
    """
    per_language = token_counts.sum(axis=1)
    scale = np.divide(
        shares, per_language, out=np.zeros(len(shares)), where=per_language > 0
    ) * float(per_language.sum())
    return np.asarray(scale @ token_counts)


def window_shares(shares: Floats, mean_lengths: Floats) -> Floats:
    """Shares of windows (L,) that give these shares of tokens (L,)."""
    windows = shares / mean_lengths
    total = windows.sum()
    if not math.isfinite(total) or total <= 0:
        raise UserError("No language with text has a share above zero.")
    return np.asarray(windows / total)
