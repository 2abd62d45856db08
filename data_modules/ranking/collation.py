"""Batches of queries with lists, and in which language each passage of a list is read.

B examples of up to n places, Q rows of lists (more than B where lists are there in all languages),
L languages. Whatever is drawn is a function of seed, list and pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.ranking.stored import StoredLists, StoredTexts
from lit_distill.batch import RetrievalBatch
from lit_distill.counter_random import Purpose, key, words

Ints = NDArray[np.int64]
LanguageMixing = Literal["passages", "entries", "all"]
"""In which language the passages of a list are read; see `RetrievalCorpus`."""
Draw = Literal["first", "random"]
"""Which passages of a list are read where it has more than fit."""


@dataclass(frozen=True)
class ListCollator:
    """Makes batches of lists.

    Args:
        lists: of a split.
        passages: of all.
        mixing: of languages.
        size: n, places of a list.
        draw: which passages are read of longer ones.
        seed: of what is drawn.
        pad_id: token at padded positions, on the right.
    """

    lists: StoredLists
    passages: StoredTexts
    mixing: LanguageMixing
    size: int
    draw: Draw
    seed: int
    pad_id: int

    def __call__(self, windows: Ints, passes: Ints) -> RetrievalBatch:
        """The batch of these examples (B,), each in its pass (B,) over the corpus."""
        entries, queries = (part[windows] for part in self.lists.examples)
        places = self._places(entries, passes)
        flat = self.lists.starts[entries][:, None] + np.maximum(places, 0)
        there = places >= 0
        group, copies = self._copies(entries, passes, places, self.lists.passages[flat])
        places, flat, there = places[group], flat[group], there[group]
        read, inverse = np.unique(copies[there], return_inverse=True)
        lists = np.full(copies.shape, -1, dtype=np.int64)
        lists[there] = inverse
        views = {
            "query_": _view(self.lists.queries, queries[group], self.pad_id),
            "passage_": _view(self.passages, read.astype(np.int64), self.pad_id),
        }
        counts = {**views["query_"][1], "lists": len(lists)}
        bare = {**views["query_"][0], "sample_id": torch.from_numpy(windows[group])}
        nothing = torch.empty(0, dtype=torch.int64)
        batch: dict[str, Any] = {**bare, "rows": nothing, "targets": nothing}
        for prefix, (view, own) in views.items():
            batch |= {prefix + name: value for name, value in view.items()}
            counts |= {prefix + unit: number for unit, number in own.items()}
        batch["lists"] = torch.from_numpy(lists)
        relevant = np.where(there, self.lists.relevant[flat], 0)
        batch["relevant"] = torch.from_numpy(relevant.astype(np.int64))
        if self.lists.scored:
            scores = np.where(there, self.lists.scores[flat], np.float32(0))
            batch["scores"] = torch.from_numpy(scores.astype(np.float32))
        batch["group"] = torch.from_numpy(group)
        return cast(RetrievalBatch, {**batch, "counts": counts})

    def _places(self, entries: Ints, passes: Ints) -> Ints:
        """(B, n) places of the lists that are read, ascending; -1 at the end of shorter ones.

        Of drawn ones, one that is relevant is always among them where the list has any.
        """
        counts = self.lists.counts[entries]
        longest = int(counts.max())
        width = min(self.size, longest)
        every = np.arange(longest)[None, :]
        if self.draw == "first" or longest <= width:
            return np.where(every < counts[:, None], every, -1)[:, :width]
        bits = words(key(self.seed, Purpose.LISTS, entries, passes)[:, None], every)
        order = (bits >> np.uint64(2)).astype(np.int64)
        flat = self.lists.starts[entries][:, None] + np.minimum(every, counts[:, None] - 1)
        inside = every < counts[:, None]
        behind = np.int64(2**62 - 1)
        relevant = np.where(inside & (self.lists.relevant[flat] > 0), order, behind)
        first = relevant.argmin(1)
        kept = np.flatnonzero(relevant.min(1) < behind)
        order[kept, first[kept]] = -1
        order = np.where(inside, order, behind)
        chosen = np.argsort(order, axis=1, kind="stable")[:, :width]
        chosen = np.sort(np.where(chosen < counts[:, None], chosen, longest), axis=1)
        return np.asarray(np.where(chosen < longest, chosen, -1))

    def _copies(
        self, entries: Ints, passes: Ints, places: Ints, numbers: Ints
    ) -> tuple[Ints, NDArray[np.int32]]:
        """Of every row of lists (Q,) its example, and (Q, n) the windows of its passages."""
        copies = self.passages.copies[numbers]  # (B, n, L)
        there = copies >= 0
        rows = np.arange(len(entries))
        keys = key(self.seed, Purpose.PASSAGE_LANGUAGES, entries, passes)
        if self.mixing == "passages":
            bits = words(keys[:, None], np.maximum(places, 0)) >> np.uint64(32)
            language = _drawn(there, bits)
            return rows, np.take_along_axis(copies, language[..., None], 2)[..., 0]
        common: NDArray[np.bool_] = np.all(there | (places < 0)[..., None], axis=1)  # (B, L)
        if self.mixing == "entries":
            language = _drawn(common, words(keys, np.zeros(1)) >> np.uint64(32))
            return rows, np.take_along_axis(copies, language[:, None, None], 2)[..., 0]
        group, language = np.nonzero(common)
        return group.astype(np.int64), copies[group, :, language]


def _drawn(there: NDArray[np.bool_], bits: NDArray[np.uint64]) -> Ints:
    """One of the languages (..., L) that are there, for each of (...,) random numbers."""
    counts = there.sum(-1)
    drawn = (bits * counts.astype(np.uint64)) >> np.uint64(32)
    nth = np.cumsum(there, axis=-1) - 1
    return np.asarray((there & (nth == drawn.astype(np.int64)[..., None])).argmax(-1))


def _view(
    texts: StoredTexts, windows: Ints, pad_id: int
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """What is read of some windows (R,), and how much it is."""
    lengths = texts.store.lengths[windows].astype(np.int64)
    width = int(lengths.max())
    mask = np.arange(width) < lengths[:, None]
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask] = texts.store.gather(windows)
    tokens = np.flatnonzero(mask)
    arrays = {
        "input_ids": ids,
        "attention_mask": mask.astype(np.int64),
        "language": texts.store.language[windows].astype(np.int64),
        "sample_id": texts.number[windows],
        "tokens": tokens,
    }
    counts = {"tokens": len(tokens), "sequences": len(windows), "rows": 0, "masked": 0}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, counts
