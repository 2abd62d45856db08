"""Random numbers that are a function of what they are for, not of when they are drawn.

SplitMix64 (Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators") used as a
counter-based generator: number j of the stream `key` is `mix(key + j * GOLDEN)`. A key is folded
from a seed, a purpose and whatever else names the draw (pass, window), so that workers, ranks,
resumed runs and other batch compositions all see the same numbers. NumPy's own generators promise
no stable streams between versions; these few lines never change.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Words = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


class Purpose(IntEnum):
    """What numbers are drawn for: separate streams under one seed. The values never change."""

    PASS_ORDER = 1
    LENGTH_TIES = 2
    BATCH_ORDER = 3
    MASK = 4
    REPLACEMENT = 5
    LABELLED = 6
    SHOWN_PROMPTS = 7
    SAMPLING = 11
    SOURCE = 12
    REPLAY = 13
    NOISE = 17
    TASK = 19
    DIRECTIONS = 23
    LISTS = 29
    PASSAGE_LANGUAGES = 31


def key(seed: int, purpose: Purpose, *parts: ArrayLike) -> Words:
    """Folds what names a draw into stream keys.

    Args:
        seed: any integer; its lowest 64 bits count.
        purpose: what is drawn.
        parts: integers or integer arrays; shapes broadcast.

    Returns:
        uint64 keys of the broadcast shape, at least one-dimensional.
    """
    folded = _mix(np.array([seed % 2**64], dtype=np.uint64))
    for part in (int(purpose), *parts):
        folded = _mix(folded + (np.atleast_1d(part).astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    return folded


def words(keys: Words, counters: NDArray[Any]) -> Words:
    """64 random bits for every (key, counter); shapes broadcast, counters are not negative."""
    return _mix(counters.astype(np.uint64) * _GOLDEN + keys)


def uniform(bits: Words) -> NDArray[np.float64]:
    """Numbers in the open interval (0, 1), 53 bits each."""
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def halves(bits: Words) -> tuple[NDArray[np.float64], Words]:
    """Two independent numbers from one word: a share in [0, 1) and 32 bits for `below`."""
    return (bits >> _HALF).astype(np.float64) * 2.0**-32, bits & _LOW


def below(bits: Words, limit: int) -> NDArray[np.int64]:
    """Integers in [0, limit) from 32 random bits each; limit < 2**32."""
    return ((bits * np.uint64(limit)) >> _HALF).astype(np.int64)


def _mix(state: Words) -> Words:
    """SplitMix64's finaliser, in place on a fresh array."""
    scratch = state >> _SHIFTS[0]
    state ^= scratch
    state *= _MULTIPLIERS[0]
    np.right_shift(state, _SHIFTS[1], out=scratch)
    state ^= scratch
    state *= _MULTIPLIERS[1]
    np.right_shift(state, _SHIFTS[2], out=scratch)
    state ^= scratch
    return state
