"""What `write_labelled` wrote, read again: texts, rows, answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from data_modules.labelling.encoding import Reads
from data_modules.labelling.stored_texts import StoredTexts
from data_modules.storing.store_files import array_of, names_of, reading, require
from data_modules.storing.token_store import TokenStore, ranges
from data_modules.tasks.task import Ints

LABELS, PLACES, TEACHER = "labels.json", "places.json", "teacher_"
ANSWERS, COUNTS, EXAMPLES = "answers.npy", "answer_counts.npy", "examples.npy"
READS = {
    "lengths": "text_lengths.npy",
    "firsts": "firsts.npy",
    "counts": "row_counts.npy",
    "rows": "rows.npy",
    "words": "words.npy",
}
"""Files beside a token store, by what of `Reads` they hold."""


@dataclass(frozen=True)
class StoredReads:
    """What one model reads of all windows of a split.

    Attributes:
        store: their tokens.
        lengths: (P,) tokens of every text.
        firsts: (P,) how many of them come before its second text; all of a single text.
        counts: (P,) its rows.
        rows: (N,) their positions in it, mapped.
        words: (N,) what they stand for, mapped.
    """

    store: TokenStore
    lengths: Ints
    firsts: Ints
    counts: Ints
    rows: Ints
    words: Ints

    @classmethod
    def of(cls, store: TokenStore) -> StoredReads:
        """What stands beside a store.

        Raises:
            UserError: it is damaged.
        """
        folder = store.folder
        with reading(folder.parent):
            read = {
                name: array_of(folder / file, np.int64, 1, mapped=name in ("rows", "words"))
                for name, file in READS.items()
            }
            found = cls(store, **read)
            texts = len(found.lengths)
            shaped = texts == len(found.firsts) == len(found.counts)
            require(shaped and texts % max(len(store.lengths), 1) == 0, folder / READS["lengths"])
            sums = found.lengths.reshape(len(store.lengths), found.texts).sum(1)
            require(bool((sums == store.lengths).all()), folder / READS["lengths"])
            inside = (found.firsts > 0) & (found.firsts <= found.lengths)
            require(bool(inside.all()), folder / READS["firsts"])
            held = len(found.rows) == len(found.words) == found.counts.sum()
            require(held and bool((found.counts > 0).all()), folder / READS["counts"])
        return found

    @property
    def texts(self) -> int:
        """Texts of every window."""
        return len(self.lengths) // max(len(self.store.lengths), 1)

    @property
    def pairs(self) -> bool:
        """Whether any text has a second one that the tokenizer tells apart."""
        return bool((self.firsts < self.lengths).any())

    @cached_property
    def starts(self) -> Ints:
        """(P,) the first row of every text."""
        return np.cumsum(self.counts) - self.counts

    @property
    def fingerprint(self) -> str:
        """Hash of all tokens, and of where texts, second texts and rows begin."""
        digest = blake2b(self.store.content.encode(), digest_size=16)
        for part in (self.lengths, self.firsts, self.counts, self.rows):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def take(self, windows: Ints) -> Reads:
        """What is read of these windows (B,)."""
        texts = (windows[:, None] * self.texts + np.arange(self.texts)).ravel()
        rows = ranges(self.starts[texts], self.counts[texts])
        return Reads(
            self.store.gather(windows),
            self.lengths[texts],
            self.firsts[texts],
            self.counts[texts],
            np.asarray(self.rows[rows]),
            np.asarray(self.words[rows]),
            np.repeat(np.arange(len(windows)), self.texts),
        )


@dataclass(frozen=True)
class StoredLabels:
    """One split: what is read of its windows, and what is right.

    Attributes:
        names: of labels, as the data has them.
        places: file and row where each stands first in this split; empty where it does not.
        answers: of all windows: numbers of `names`, or what `Task.answers` gave.
        counts: (W,) how many each window has.
        examples: (W,) uint64, content hashes of their texts.
        reads: what those read who learn.
        teacher: what a teacher reads that has a text of its own.
        texts: the texts themselves, where they were kept.
    """

    names: list[str]
    places: list[str]
    answers: NDArray[np.float64]
    counts: Ints
    examples: NDArray[np.uint64]
    reads: StoredReads
    teacher: StoredReads | None
    texts: StoredTexts | None

    @classmethod
    def of(cls, store: TokenStore) -> StoredLabels:
        """The labels of a store that `write_labelled` wrote.

        Raises:
            UserError: they are damaged.
        """
        folder, windows = store.folder, len(store.lengths)
        with reading(folder.parent):
            names, places = names_of(folder / LABELS), names_of(folder / PLACES)
            require(len(places) == len(names), folder / PLACES)
            answers = array_of(folder / ANSWERS, np.float64, 1)
            counts = array_of(folder / COUNTS, np.int64, 1)
            examples = array_of(folder / EXAMPLES, np.uint64, 1)
            require(len(counts) == windows and counts.sum() == len(answers), folder / ANSWERS)
            require(len(examples) == windows, folder / EXAMPLES)
            sound = np.isin(answers, np.arange(len(names))) if names else np.isfinite(answers)
            require(bool(sound.all()), folder / ANSWERS)
        beside = folder.with_name(f"{TEACHER}{folder.name}")
        teacher = StoredReads.of(TokenStore(beside)) if beside.is_dir() else None
        texts = StoredTexts.there(folder)
        own = StoredReads.of(store)
        return cls(names, places, answers, counts, examples, own, teacher, texts)

    @cached_property
    def starts(self) -> Ints:
        """(W,) the first answer of every window."""
        return np.cumsum(self.counts) - self.counts

    @property
    def occurring(self) -> dict[str, int]:
        """How often each label occurs in this split, of those that do."""
        counts = np.bincount(self.answers.astype(np.int64), minlength=len(self.names))
        found = zip(self.names, counts.tolist(), strict=True)
        return {name: count for name, count in found if count}
