"""What a corpus notes of its texts while it is written: a hash of each, by split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.reading.columns import texts_of
from lit_distill.files.seen_texts import LIMIT, Hashes, SeenTexts, hashes_of


class TextRecord:
    """Hashes of all texts of a corpus by split, in bounded memory.

    Args:
        splits: names; every one has its files in the end.
        limit: most hashes of a split; see `SeenTexts.among`.
    """

    def __init__(self, splits: Sequence[str], limit: int = LIMIT) -> None:
        nothing = np.empty(0, dtype=np.uint64)
        self._seen = dict.fromkeys(splits, SeenTexts(nothing))
        self._new: dict[str, list[Hashes]] = {split: [] for split in splits}
        self._limit = limit

    def note(self, rows: Mapping[Any, Iterable[tuple[int, str]]]) -> None:
        """Adds numbered rows by split."""
        for split, own in rows.items():
            self._new[split].append(hashes_of(text for _, row in own for text in texts_of(row)))
            if sum(map(len, self._new[split])) > self._limit:
                self._settle(split)

    def write(self, folder: Path) -> None:
        """Writes the files of every split into its folder inside of this one."""
        for split in self._seen:
            self._settle(split)
            self._seen[split].write(folder / split)

    def _settle(self, split: str) -> None:
        seen, new = self._seen[split], self._new[split]
        every = np.concatenate([seen.hashes, *new])
        self._seen[split] = SeenTexts.among(every, seen.one_in, self._limit)
        new.clear()
