"""Merges learnt on top of what a tokenizer cuts: the most frequent pair, again and again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import pairwise

LEAST = 2
"""A pair of fewer occurrences is not merged."""

Pair = tuple[str, str]


def learn_merges(
    runs: Mapping[tuple[str, ...], int], known: Collection[str], most: int
) -> list[Pair]:
    """The merges in the order in which they are found, each of which gives another new piece.

    At each step the pair of neighbours that occurs most often is merged wherever it stands, from
    the left; of equals, the first in the order of their texts. A pair whose piece the vocabulary
    has already, or has got by another merge, is passed over: merging into an old piece would let
    old merges follow, and cut texts otherwise that hold nothing new.

    Args:
        runs: sequences of old pieces as texts, and how often each occurs.
        known: pieces of the old vocabulary.
        most: merges at most; fewer where pairs become rare.
    """
    table = _Pairs(runs)
    merges: list[Pair] = []
    made: set[str] = set()
    while len(merges) < most and (pair := table.pop()) is not None:
        text = "".join(pair)
        if text in known or text in made:
            continue
        merges.append(pair)
        made.add(text)
        table.merge(pair)
    return merges


class _Pairs:
    """Words that are being merged, and how often each pair of neighbours is in them."""

    def __init__(self, runs: Mapping[tuple[str, ...], int]) -> None:
        self._words, self._times = [list(run) for run in runs], list(runs.values())
        self._counts: Counter[Pair] = Counter()
        self._places: defaultdict[Pair, set[int]] = defaultdict(set)
        for number in range(len(self._words)):
            self._count(number, 1)
        self._queue = [(-count, pair) for pair, count in self._counts.items()]
        heapify(self._queue)

    def pop(self) -> Pair | None:
        """The most frequent pair that was not given yet; None where all others are rare."""
        while self._queue:
            count, pair = heappop(self._queue)
            if -count < LEAST:
                return None
            if self._counts[pair] == -count:  # else it was counted anew, and stands elsewhere
                return pair
        return None

    def merge(self, pair: Pair) -> None:
        """Merges a pair in all words."""
        changed: set[Pair] = set()
        for number in self._places.pop(pair):
            changed |= self._count(number, -1)
            self._words[number] = merged(self._words[number], pair)
            changed |= self._count(number, 1)
        for other in changed:
            heappush(self._queue, (-self._counts[other], other))

    def _count(self, number: int, sign: int) -> set[Pair]:
        found = {*pairwise(self._words[number])}
        for pair in pairwise(self._words[number]):
            self._counts[pair] += sign * self._times[number]
        for pair in found if sign > 0 else ():
            self._places[pair].add(number)
        return found


def merged(word: Iterable[str], pair: Pair) -> list[str]:
    """A word in which a pair has become one piece wherever it stood, from the left."""
    done: list[str] = []
    for piece in word:
        if done and (done[-1], piece) == pair:
            done[-1] += piece
        else:
            done.append(piece)
    return done
