"""Which texts came before, for corpora whose texts do not fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Marks = NDArray[np.uint64]


def marks_of(texts: Sequence[bytes]) -> Marks:
    """A 64-bit hash (N,) of every text.

    Among a thousand million distinct texts the odds are 1 in 37 that any two share one, and then
    one text is taken for a repeat.
    """
    digests = b"".join(blake2b(text, digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8")


class SeenTexts:
    """A set of marks: 8 bytes each, 24 for moments, where a Python set takes about 90.

    It is kept in sorted runs, each less than half as long as the one before.
    """

    def __init__(self) -> None:
        self._runs: list[Marks] = []

    def __contains__(self, mark: np.uint64) -> bool:
        return bool(self.among(np.array([mark], dtype=np.uint64))[0])

    def among(self, marks: Marks) -> NDArray[np.bool_]:
        """Which of these marks (N,) are in the set."""
        found = np.zeros(len(marks), dtype=bool)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, marks), len(run) - 1)
            found |= run[places] == marks
        return found

    def add(self, marks: Marks) -> NDArray[np.bool_]:
        """Adds marks (N,); returns which of them are new, the first of equal ones."""
        new = np.zeros(len(marks), dtype=bool)
        new[np.unique(marks, return_index=True)[1]] = True
        new &= ~self.among(marks)
        if new.any():
            self._runs.append(np.sort(marks[new]))
        while len(self._runs) > 1 and 2 * len(self._runs[-1]) >= len(self._runs[-2]):
            merged = np.concatenate([self._runs.pop(), self._runs.pop()])
            merged.sort(kind="stable")  # which merges sorted runs
            self._runs.append(merged)
        return new
