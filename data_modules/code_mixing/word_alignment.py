"""Which words of two parallel sentences translate each other, from the sentences alone.

IBM model 1 (Brown et al., 1993, "The mathematics of statistical machine translation") in both
directions, with the preference for the diagonal of Dyer, Chahuneau and Smith (2013, "A simple,
fast, and effective reparameterization of IBM model 2"), here of fixed strength. Links on which both
directions agree are kept: few, and mostly right. Words are compared by their first letters, in
lower case, so that inflected forms share their counts. Of the aligners on the package index, the
statistical ones need a compiler and are under the GPL, and the neural ones need a model; either
finds more links than this does.

P sentence pairs; every possible link of every pair is one entry of flat arrays (E,).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Pair = tuple[Sequence[str], Sequence[str]]
Links = list[tuple[int, int]]

STEM = 5
"""First letters (code points) by which words are compared."""
DIAGONAL = 2.0
"""Strength of the preference for equal relative places; small: orders differ (SOV, SVO)."""
UNLINKED = 0.08
"""Probability that a word translates nothing."""
ITERATIONS = 8
MOST_PAIRS = 50_000
"""Longer corpora are aligned in parts of so many pairs, each with counts of its own."""


def align(pairs: Sequence[Pair]) -> list[Links]:
    """The links (i, j) of every pair, word i of its first side with word j of its second.

    Deterministic; time and memory grow with the sum over pairs of the product of their lengths.
    """
    links: list[Links] = []
    for start in range(0, len(pairs), MOST_PAIRS):
        links += _align(pairs[start : start + MOST_PAIRS])
    return links


@dataclass(frozen=True)
class _Entries:
    """All possible links: their pair, their places, and the types of their words."""

    pair: Ints
    first: Ints
    second: Ints
    types: tuple[Ints, Ints]
    slope: Floats


def _align(pairs: Sequence[Pair]) -> list[Links]:
    entries = _entries(pairs)
    if not len(entries.pair):
        return [[] for _ in pairs]
    forward = _best(entries, given=0)
    backward = _best(entries, given=1)
    links: list[Links] = [[] for _ in pairs]
    chosen = np.intersect1d(forward, backward)
    table = zip(
        entries.pair[chosen].tolist(),
        entries.first[chosen].tolist(),
        entries.second[chosen].tolist(),
        strict=True,
    )
    for pair, first, second in table:
        links[pair].append((first, second))
    return links


def _entries(pairs: Sequence[Pair]) -> _Entries:
    numbers: tuple[dict[str, int], dict[str, int]] = ({}, {})
    typed = [
        [
            np.array([known.setdefault(word.lower()[:STEM], len(known)) for word in side], np.int64)
            for known, side in zip(numbers, pair, strict=True)
        ]
        for pair in pairs
    ]
    sizes = np.array([[len(side) for side in pair] for pair in typed], dtype=np.int64)
    products = sizes.prod(1)
    pair = np.repeat(np.arange(len(pairs)), products)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(products) - products, products)
    width = sizes[pair, 1] if len(pair) else pair
    first, second = np.divmod(place, np.maximum(width, 1))
    nothing = np.empty(0, dtype=np.int64)
    flat = [np.concatenate([nothing, *(one[side] for one in typed)]) for side in (0, 1)]
    starts = np.cumsum(sizes, 0) - sizes
    types = flat[0][starts[pair, 0] + first], flat[1][starts[pair, 1] + second]
    relative = (first + 0.5) / sizes[pair, 0] - (second + 0.5) / sizes[pair, 1]
    return _Entries(pair, first, second, types, np.exp(-DIAGONAL * np.abs(relative)))


def _best(entries: _Entries, given: int) -> Ints:
    """The entry of the likeliest link of each word of the other side, where it beats no link.

    Args:
        entries: all possible links.
        given: the side whose words generate those of the other one.
    """
    sides = (entries.first, entries.second)
    made = sides[1 - given]
    types = entries.types[given] * (entries.types[1 - given].max() + 1) + entries.types[1 - given]
    _, kinds = np.unique(types, return_inverse=True)
    # a word of the other side: its pair and its place there
    _, word = np.unique(entries.pair * (made.max() + 1) + made, return_inverse=True)
    words, count = word.max() + 1, kinds.max() + 1
    prior = entries.slope / np.bincount(word, entries.slope, words)[word] * (1.0 - UNLINKED)
    giver = np.zeros(count, dtype=np.int64)
    giver[kinds] = entries.types[given]
    uniform = 1.0 / (entries.types[1 - given].max() + 1)
    table = np.full(count, uniform)
    for _ in range(ITERATIONS):
        joint = table[kinds] * prior
        share = joint / (np.bincount(word, joint, words) + UNLINKED * uniform)[word]
        sums = np.bincount(kinds, share, count)
        table = sums / np.bincount(giver, sums)[giver]
    share = table[kinds] * prior
    order = np.lexsort((np.arange(len(share)), -share, word))
    leads = order[np.flatnonzero(np.diff(word[order], prepend=-1))]
    return np.asarray(leads[share[leads] > UNLINKED * uniform])
