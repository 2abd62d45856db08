"""Which windows make which batch: an endless stream that is a function of the seed alone.

W windows, L languages. The stream is cut into pools. Pool k takes the next windows of every
language's own stream (floor((k+1) M q_l) - floor(k M q_l) of them, so that shares hold exactly over
time), sorts them by length and cuts them into batches of at most `budget` positions, padding
included. A language's stream is pass after pass over its windows, each pass in its own seeded
order: nothing is lost or seen twice within a pass; an upsampled language just passes more often.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_modules.feeding.sampling import window_shares
from lit_distill.counter_random import Purpose, key, words
from lit_distill.errors import UserError

Ints = NDArray[np.int64]
POOL_SIZE = 5000


class LanguageStream:
    """Endless passes over the windows of one language.

    Args:
        windows: (n,) numbers of the language's windows in the corpus.
        seed: of the run.
        language: the language's number.
    """

    def __init__(self, windows: NDArray[Any], seed: int, language: int) -> None:
        self._windows = windows.astype(np.int32)
        self._seed, self._language = seed, language
        self._pass, self._order = -1, self._windows[:0]

    def take(self, start: int, stop: int) -> tuple[Ints, Ints]:
        """Windows and pass numbers at positions start..stop-1 of the stream; stop > start."""
        size = len(self._windows)
        first, last = start // size, (stop - 1) // size
        if first == last:
            picked = self._pass_order(first)[start - first * size : stop - first * size]
        else:
            between = self._orders(np.arange(first + 1, last)).ravel()
            head = self._pass_order(first)[start - first * size :]
            tail = self._pass_order(last)[: stop - last * size]
            picked = np.concatenate([head, between, tail])
        return picked.astype(np.int64), np.arange(start, stop) // size

    def _pass_order(self, number: int) -> NDArray[np.int32]:
        """All windows in the order of one pass; the latest pass is kept."""
        if number != self._pass:
            self._pass, self._order = number, self._orders(np.array([number]))[0]
        return self._order

    def _orders(self, passes: Ints) -> NDArray[np.int32]:
        """Orders (P, n) of several passes: one sort of seeded random numbers each."""
        keys = key(self._seed, Purpose.PASS_ORDER, self._language, passes)
        numbers = words(keys[:, None], np.arange(len(self._windows)))
        return self._windows[np.argsort(numbers, axis=1, kind="stable")]


@dataclass(frozen=True)
class Pool:
    """The batches of one pool, in their final order.

    Attributes:
        windows: (n,) window numbers, longest first.
        passes: (n,) pass of each within its language.
        bounds: (b + 1,) borders of the batches in `windows`.
        order: (b,) the order in which batches are fed.
    """

    windows: Ints
    passes: Ints
    bounds: Ints
    order: Ints

    def batch(self, index: int) -> tuple[Ints, Ints]:
        """Windows and passes of the batch fed as number `index` of this pool."""
        cut = self.order[index]
        inside = slice(self.bounds[cut], self.bounds[cut + 1])
        return self.windows[inside], self.passes[inside]


class Plan:
    """The training order: global batch number -> windows, a pure function of the arguments.

    Args:
        lengths: (W,) tokens of every window, special tokens included.
        language: (W,) language number of every window.
        shares: (L,) share of every language in the sampled tokens; or (K, L), those of each of the
            first K pools, of which the last holds for all further ones.
        budget: most positions of a batch, padding included (rows x longest row).
        seed: of the run.
        pool_size: windows that are sorted by length together. Larger means less padding and batches
            that are more alike inside; 5,000 windows of log-normal lengths (mean 40, sigma 0.8) and
            4,096 positions leave about 4 % padding.

    Raises:
        UserError: a window is longer than the budget, or a language with a share has no window.
    """

    def __init__(
        self,
        lengths: NDArray[Any],
        language: NDArray[Any],
        shares: NDArray[np.float64],
        budget: int,
        seed: int = 0,
        pool_size: int = POOL_SIZE,
    ) -> None:
        check_budget(lengths, budget)
        if pool_size < 1:
            raise UserError(f"pool_size must be at least 1 window, found {pool_size}.")
        self.budget, self.seed, self.pool_size = budget, seed, pool_size
        self._lengths = lengths
        self._shares = np.atleast_2d(np.asarray(shares, dtype=np.float64))
        languages = self._shares.shape[1]
        sizes = np.bincount(language, minlength=languages)
        wanted = (self._shares > 0).any(0)
        if ((sizes == 0) & wanted).any():
            missing = np.flatnonzero((sizes == 0) & wanted).tolist()
            raise UserError(f"Languages number {missing} have a share and no text.")
        means = np.bincount(language, lengths, minlength=languages) / np.maximum(sizes, 1)
        means = np.maximum(means, 1.0)
        self._window_shares = np.stack([window_shares(row, means) for row in self._shares])
        by_language = np.split(np.argsort(language, kind="stable"), np.cumsum(sizes)[:-1])
        self._streams = [LanguageStream(own, seed, i) for i, own in enumerate(by_language)]
        self._corpus = blake2b(lengths.tobytes() + language.tobytes(), digest_size=8).hexdigest()
        self._first_pool, self._starts = 0, [0]
        self._cached: tuple[int, Pool] | None = None

    def batch(self, position: int) -> tuple[Ints, Ints]:
        """Window numbers and pass numbers of the global batch `position`."""
        number, start = self.locate(position)
        return self._pool(number).batch(position - start)

    def locate(self, position: int) -> tuple[int, int]:
        """The pool of a global batch and the position at which that pool starts."""
        if position < self._starts[0]:
            self.jump(0, 0)
        while position >= self._starts[-1]:
            pool = self._pool(self._first_pool + len(self._starts) - 1)
            self._starts.append(self._starts[-1] + len(pool.order))
        index = bisect_right(self._starts, position) - 1
        return self._first_pool + index, self._starts[index]

    def jump(self, pool: int, start: int) -> None:
        """Goes on from what `locate` once returned, without counting through earlier pools."""
        self._first_pool, self._starts = pool, [start]

    def identity(self) -> Mapping[str, int | str]:
        """What the order depends on, as plain values: a resumed run must have the same."""
        return {
            "seed": self.seed,
            "budget": self.budget,
            "pool_size": self.pool_size,
            "corpus": self._corpus,
            "shares": "; ".join(" ".join(f"{share:.6g}" for share in row) for row in self._shares),
        }

    def _pool(self, number: int) -> Pool:
        """Pool `number`; the latest one is kept."""
        if self._cached is None or self._cached[0] != number:
            self._cached = number, self._make_pool(number)
        return self._cached[1]

    def _taken(self, pools: int) -> list[int]:
        """Windows of every language (L,) that the first `pools` pools have taken."""
        listed = min(pools, len(self._window_shares) - 1)
        first = self._window_shares[:listed].sum(0) * self.pool_size
        rest = (pools - listed) * self.pool_size * self._window_shares[-1]
        taken: list[int] = np.floor(first + rest).astype(int).tolist()
        return taken

    def _make_pool(self, number: int) -> Pool:
        start, stop = (self._taken(number + step) for step in (0, 1))
        parts = [
            stream.take(a, b)
            for stream, a, b in zip(self._streams, start, stop, strict=True)
            if b > a
        ]
        if not parts:  # a pool smaller than the number of languages
            nothing = np.empty(0, dtype=np.int64)
            return Pool(nothing, nothing, np.zeros(1, dtype=np.int64), nothing)
        windows = np.concatenate([part[0] for part in parts])
        passes = np.concatenate([part[1] for part in parts])
        lengths = self._lengths[windows]
        ties = words(key(self.seed, Purpose.LENGTH_TIES, number), np.arange(len(windows)))
        order = longest_first(lengths, ties)
        bounds = even_cuts(lengths[order], self.budget)
        shuffle = words(
            key(self.seed, Purpose.BATCH_ORDER, number), np.arange(len(bounds) - 1)
        ).argsort(kind="stable")
        return Pool(windows[order], passes[order], bounds, shuffle)


class EvaluationPlan:
    """A fixed list of batches in which every window comes exactly once, longest first.

    Args:
        windows: (n,) window numbers.
        lengths: (n,) their tokens.
        budget: most positions of a batch, padding included.
        ranks: the number of batches is made a multiple of this, so that every rank runs equally
            many (sharded models would hang otherwise) without seeing a window twice.

    Raises:
        UserError: a window is longer than the budget, or there are fewer windows than ranks.
    """

    def __init__(
        self, windows: NDArray[Any], lengths: NDArray[Any], budget: int, ranks: int = 1
    ) -> None:
        check_budget(lengths, budget)
        if len(windows) < ranks:
            raise UserError(
                f"{len(windows)} windows cannot be evaluated on {ranks} devices: give more "
                "validation text or use fewer devices."
            )
        order = np.argsort(-lengths.astype(np.int64), kind="stable")
        bounds = even_cuts(lengths[order], budget)
        while (len(bounds) - 1) % ranks:
            widest = int(np.diff(bounds).argmax())
            middle = (bounds[widest] + bounds[widest + 1]) // 2
            bounds = np.insert(bounds, widest + 1, middle)
        ordered = windows[order].astype(np.int64)
        self.batches: list[Ints] = np.split(ordered, bounds[1:-1])

    def __len__(self) -> int:
        return len(self.batches)


def check_budget(lengths: NDArray[Any], budget: int) -> None:
    """Refuses corpora that no batch can hold.

    Raises:
        UserError: there is no window, an empty one, or one longer than the budget.
    """
    if len(lengths) == 0:
        raise UserError("The corpus has no text.")
    if lengths.min() < 1:
        raise UserError("The corpus has a window without tokens.")
    if lengths.max() > budget:
        raise UserError(
            f"The longest window has {lengths.max()} tokens and a batch holds at most {budget} "
            "positions: raise the budget or lower the window length."
        )


def longest_first(lengths: NDArray[Any], ties: NDArray[np.uint64]) -> Ints:
    """Order (n,) by falling length, equal ones by the random numbers `ties`."""
    rank = (lengths.max() - lengths).astype(np.uint64) << np.uint64(40)
    return np.argsort(rank | (ties >> np.uint64(24)), kind="stable")


def cuts(lengths: list[int], budget: int) -> list[int]:
    """Borders of batches of at most `budget` positions each; lengths fall."""
    bounds, start = [0], 0
    while start < len(lengths):
        start = min(start + budget // lengths[start], len(lengths))
        bounds.append(start)
    return bounds


def even_cuts(lengths: NDArray[Any], budget: int) -> Ints:
    """`cuts` under the smallest budget that needs no more batches than the given one.

    Otherwise the last batch of every pool is a small remainder, and a small batch is a noisy update
    at full learning rate.
    """
    falling = lengths.tolist()
    fewest = len(cuts(falling, budget))
    low, high = falling[0], budget
    while low < high:
        middle = (low + high) // 2
        if len(cuts(falling, middle)) > fewest:
            low = middle + 1
        else:
            high = middle
    return np.array(cuts(falling, high), dtype=np.int64)
