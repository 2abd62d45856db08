"""What `write_lists` wrote, read again: texts in several languages, and lists.

P texts of a kind, L languages, E lists, X examples: a list for every language of its query.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_modules.storing.store_files import array_of, reading, require
from data_modules.storing.token_store import TokenStore

Ints = NDArray[np.int64]
PASSAGES, COPIES = "passages", "copies.npy"
LISTS, RELEVANT, SCORES = "lists.npy", "relevant.npy", "scores.npy"
QUERIES, COUNTS = "list_queries.npy", "list_counts.npy"


@dataclass(frozen=True)
class StoredTexts:
    """Passages or queries.

    Attributes:
        store: the tokens of each window.
        copies: (P, L) int32, the window of a text in a language; -1: it is not there.
    """

    store: TokenStore
    copies: NDArray[np.int32]

    @classmethod
    def of(cls, folder: Path) -> StoredTexts:
        """The texts in a folder.

        Raises:
            UserError: they are damaged.
        """
        store = TokenStore(folder)
        with reading(folder.parent):
            copies = array_of(folder / COPIES, np.int32, 2, mapped=True)
            there = np.sort(copies[copies >= 0])
            require(np.array_equal(there, np.arange(len(store.lengths))), folder / COPIES)
            require(copies.shape[1] == len(store.languages), folder / COPIES)
        return cls(store, copies)

    @cached_property
    def longest(self) -> Ints:
        """(P,) tokens of the longest copy of each."""
        lengths = np.append(self.store.lengths, 0).astype(np.int64)
        found: Ints = lengths[self.copies].max(1) if len(self.copies) else lengths[:0]
        return found

    @cached_property
    def number(self) -> Ints:
        """(W,) the text of every window."""
        numbers = np.empty(len(self.store.lengths), dtype=np.int64)
        text, place = np.nonzero(self.copies >= 0)
        numbers[self.copies[text, place]] = text
        return numbers


@dataclass(frozen=True)
class StoredLists:
    """The lists of one split.

    Attributes:
        queries: their texts.
        query: (E,) the number of each list's query.
        counts: (E,) passages of each.
        passages: numbers of the passages of all lists, one after the other.
        relevant: grades of each.
        scores: of each, float32; NaN: there is none.
    """

    queries: StoredTexts
    query: Ints
    counts: Ints
    passages: Ints
    relevant: Ints
    scores: NDArray[np.float32]

    @classmethod
    def of(cls, folder: Path, passages: int) -> StoredLists:
        """The lists in a folder.

        Args:
            folder: of the split.
            passages: how many there are.

        Raises:
            UserError: they are damaged.
        """
        queries = StoredTexts.of(folder)
        with reading(folder.parent):
            query, counts = (array_of(folder / name, np.int64, 1) for name in (QUERIES, COUNTS))
            flat = array_of(folder / LISTS, np.int64, 1, mapped=True)
            relevant = array_of(folder / RELEVANT, np.int64, 1, mapped=True)
            scores = array_of(folder / SCORES, np.float32, 1, mapped=True)
            require(len(query) == len(counts) and bool((counts > 0).all()), folder / COUNTS)
            require(bool(((query >= 0) & (query < len(queries.copies))).all()), folder / QUERIES)
            sums = len(flat) == len(relevant) == len(scores) == counts.sum()
            require(bool(sums), folder / LISTS)
            require(bool(((flat >= 0) & (flat < passages)).all()), folder / LISTS)
        return cls(queries, query, counts, flat, relevant, scores)

    @cached_property
    def starts(self) -> Ints:
        """(E,) where each list begins."""
        return np.asarray(np.cumsum(self.counts) - self.counts)

    @cached_property
    def scored(self) -> bool:
        """Whether there are scores; `unscored` says of how many lists there are none."""
        return len(self.scores) > 0 and not bool(np.isnan(self.scores).all())

    @property
    def unscored(self) -> int:
        """Lists of which a passage has no score."""
        if not len(self.starts):
            return 0
        return int(np.logical_or.reduceat(np.isnan(self.scores), self.starts).sum())

    @cached_property
    def examples(self) -> tuple[Ints, Ints]:
        """(X,) the list of every example and the window of its query, query by language."""
        copies = self.queries.copies[self.query]
        entry, place = np.nonzero(copies >= 0)
        return entry.astype(np.int64), copies[entry, place].astype(np.int64)

    @cached_property
    def language(self) -> NDArray[np.int16]:
        """(X,) the language of every example's query."""
        return self.queries.store.language[self.examples[1]]

    @property
    def content(self) -> str:
        """Hash of queries and lists."""
        digest = blake2b(self.queries.store.content.encode(), digest_size=16)
        for part in (self.query, self.counts, self.passages, self.relevant, self.scores):
            digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(np.ascontiguousarray(self.queries.copies).tobytes())
        return digest.hexdigest()
