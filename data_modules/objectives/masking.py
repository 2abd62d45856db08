"""Drawing masked positions: exact counts, by Gumbel top-k, for all rows of a batch at once.

B texts of M tokens in all, N masked. Every token runs a race: its time is E / w, with E a standard
exponential number and w its weight; the k fastest are masked. This is k draws without replacement
with probabilities proportional to w (as `torch.multinomial`), and the same as taking the k largest
log w + Gumbel noise, of which -log(E / w) is one writing. E comes from (seed, pass, window,
position), so a text's mask depends on no other text, worker or rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_distill.counter_random import Purpose, Words, below, halves, key, uniform, words

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Texts:
    """A batch before padding: texts one after the other.

    Attributes:
        ids: (M,) token ids.
        lengths: (B,) tokens of each text, at least 1.
        row: (M,) text of each token.
        column: (M,) place of each token in its text.
        windows: (B,) window numbers.
        passes: (B,) how often each window's language was passed over before.
        begins: (M,) which tokens begin a word where no mark in them says it; None: there are none.
    """

    ids: NDArray[Any]
    lengths: Ints
    row: Ints
    column: Ints
    windows: Ints
    passes: Ints
    begins: NDArray[np.bool_] | None = None

    @classmethod
    def joined(
        cls,
        ids: NDArray[Any],
        lengths: Ints,
        windows: Ints,
        passes: Ints,
        begins: NDArray[np.bool_] | None = None,
    ) -> Texts:
        """Texts from their joined tokens and lengths."""
        row = np.repeat(np.arange(len(lengths)), lengths)
        column = np.arange(len(row)) - (np.cumsum(lengths) - lengths)[row]
        return cls(ids, lengths, row, column, windows, passes, begins)


@dataclass(frozen=True)
class Selection:
    """What an objective makes of a batch.

    Attributes:
        ids: (M,) tokens to feed.
        rows: (N,) ascending places in the M tokens that have a target.
        targets: (N,) token ids.
        masked: how many targets were hidden by masking.
    """

    ids: NDArray[Any]
    rows: Ints
    targets: Ints
    masked: int


@dataclass(frozen=True)
class Masker:
    """Masks texts; see `objectives.MaskedTokens` for the rules and units.

    Attributes:
        probability: share of a text's tokens (special ones counted) that become targets.
        mask_share: share of the targets replaced by the mask token.
        random_share: share of the targets replaced by a random token.
        per_text: exact counts per text; else over the whole batch.
        mask_id: the mask token.
        maskable: (V,) which tokens may be masked.
        slowness: (V,) 1 / weight of each token; None for equal weights.
        starts: (V,) which tokens begin a word; None masks tokens, not words.
        seed: of the masks.
    """

    probability: float
    mask_share: float
    random_share: float
    per_text: bool
    mask_id: int
    maskable: NDArray[np.bool_]
    slowness: NDArray[np.float64] | None
    starts: NDArray[np.bool_] | None
    seed: int

    def __call__(self, texts: Texts) -> Selection:
        """Draws targets and hides them."""
        rows = self._draw(texts)
        targets = texts.ids[rows].astype(np.int64)
        ids = texts.ids.copy()
        ids[rows] = self._hidden(texts, rows, targets)
        return Selection(ids, rows, targets, masked=len(rows))

    def _draw(self, texts: Texts) -> Ints:
        """Places of the targets, ascending."""
        candidates = np.flatnonzero(self.maskable[texts.ids])
        if self.per_text:
            group, sizes = texts.row[candidates], texts.lengths
        else:
            group, sizes = np.zeros(len(candidates), dtype=np.int64), np.array([len(texts.ids)])
        # 1e-9: 0.07 * 100 is 7.000000000000001 and means 7
        wanted = np.ceil(self.probability * sizes - 1e-9).astype(np.int64)
        keys = key(self.seed, Purpose.MASK, texts.passes, texts.windows)
        if self.starts is None:
            bits = words(keys[texts.row[candidates]], texts.column[candidates])
            slowness = self.slowness[texts.ids[candidates]] if self.slowness is not None else None
            ranked, first, sizes = _ranked(_race(bits, slowness), group, len(wanted))
            return np.sort(candidates[ranked[_leading(first, np.minimum(wanted, sizes))]])
        chosen = self._draw_words(texts, candidates, group, wanted, keys)
        return candidates[chosen]

    def _draw_words(
        self, texts: Texts, candidates: Ints, group: Ints, wanted: Ints, keys: Words
    ) -> NDArray[np.bool_]:
        """Which candidates belong to drawn words."""
        assert self.starts is not None
        row = texts.row[candidates]
        # A word also begins after a special token, where a window may start inside a word.
        begins = self.starts[texts.ids[candidates]]
        if texts.begins is not None:
            begins |= texts.begins[candidates]
        begins[:1] = True
        begins[1:] |= (np.diff(candidates) != 1) | (np.diff(row) != 0)
        first = np.flatnonzero(begins)
        word = np.cumsum(begins) - 1
        pieces = np.bincount(word, minlength=len(first))
        slowness = None
        if self.slowness is not None:
            weights = 1.0 / self.slowness[texts.ids[candidates]]
            slowness = pieces / np.bincount(word, weights, minlength=len(first))
        bits = words(keys[row[first]], texts.column[candidates[first]])
        ranked, _, _ = _ranked(_race(bits, slowness), group[first], len(wanted))
        taken = greedy_words(pieces[ranked], group[first][ranked], wanted)
        drawn = np.zeros(len(first), dtype=bool)
        drawn[ranked[taken]] = True
        return np.asarray(drawn[word])

    def _hidden(self, texts: Texts, rows: Ints, targets: Ints) -> Ints:
        """What the model reads at the targets: the mask, a random token, or the token itself."""
        keys = key(self.seed, Purpose.REPLACEMENT, texts.passes, texts.windows)
        share, bits = halves(words(keys[texts.row[rows]], texts.column[rows]))
        other = np.where(
            share < self.mask_share + self.random_share, below(bits, len(self.maskable)), targets
        )
        return np.where(share < self.mask_share, self.mask_id, other)


def _race(bits: Words, slowness: NDArray[np.float64] | None) -> Words:
    """Times as integers of the same order (floats above zero sort like their bits)."""
    if slowness is None:
        return bits
    return (-np.log(uniform(bits)) * slowness).view(np.uint64)


def _ranked(race: Words, group: Ints, groups: int) -> tuple[Ints, Ints, Ints]:
    """Order of the candidates by (group, time), with each group's start and size.

    One sort of integers that carry group, time and index, from the highest bits to the lowest: a
    value sort is several times faster than an index sort. Some 40 bits are left for the time.
    """
    group_bits, index_bits = int(groups).bit_length(), len(race).bit_length()
    packed = (race >> np.uint64(group_bits + index_bits)) << np.uint64(index_bits)
    packed |= np.arange(len(race), dtype=np.uint64)
    packed |= group.astype(np.uint64) << np.uint64(64 - group_bits)
    packed.sort()
    packed &= np.uint64((1 << index_bits) - 1)
    sizes = np.bincount(group, minlength=groups)
    return packed.astype(np.int64), np.cumsum(sizes) - sizes, sizes


def _leading(first: Ints, counts: Ints) -> Ints:
    """first[g], first[g] + 1, ... (counts[g] of them) for every group g."""
    return np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())


def greedy_words(pieces: Ints, group: Ints, wanted: Ints) -> Ints:
    """Words to mask: in their order, each one that still fits; the first of a group always.

    Args:
        pieces: tokens of each word, groups one after the other, in the order of the race.
        group: group of each word.
        wanted: tokens to mask, by group.

    Returns:
        Indices of the chosen words. Each round takes words up to the first that does not fit, and
        drops those longer than what is left, so there are at most a few rounds.
    """
    if not len(pieces):
        return group
    leads = np.flatnonzero(np.diff(group, prepend=-1))
    left = wanted.copy()
    left[group[leads]] -= pieces[leads]
    waiting = np.ones(len(pieces), dtype=bool)
    waiting[leads] = False
    active, taken = np.flatnonzero(waiting), [leads]
    while len(active := active[pieces[active] <= left[group[active]]]):
        sums = np.cumsum(pieces[active])
        opens = np.flatnonzero(np.diff(group[active], prepend=-1))
        before = np.repeat(sums[opens] - pieces[active[opens]], np.diff([*opens, len(active)]))
        fits = sums - before <= left[group[active]]
        taken.append(active[fits])
        left -= np.bincount(group[active[fits]], pieces[active[fits]], len(left)).astype(np.int64)
        active = active[~fits]
    return np.concatenate(taken)
