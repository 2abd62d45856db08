"""Texts that are left out of a corpus because something else is measured on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_modules.reading.all_texts import files_for_all, texts_in
from data_modules.reading.file_kinds import file_stamp
from lit_distill.files.seen_texts import Hashes, hashes_of


@dataclass(frozen=True)
class Exclusion:
    """Files whose texts are in no training and no validation text.

    Attributes:
        files: path and stamp of each.
    """

    files: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, patterns: Sequence[str], root: Path) -> Exclusion:
        """The files of patterns as they are now; relative ones below `root`.

        Raises:
            UserError: a pattern finds none.
        """
        paths = [path.resolve() for one in patterns for path in files_for_all(one, root)]
        return cls(tuple((str(path), file_stamp(path)) for path in dict.fromkeys(paths)))

    def kept(self, rows: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
        """Which rows (N,) have none of their texts in the files.

        Raises:
            UserError: a file cannot be read.
        """
        kept = np.ones(len(rows), dtype=bool)
        if self.files:
            owners = np.repeat(np.arange(len(rows)), [len(texts) for texts in rows])
            found = np.isin(hashes_of(chain.from_iterable(rows)), _hashes(self.files))
            kept[owners[found]] = False
        return kept


@lru_cache(maxsize=2)
def _hashes(files: tuple[tuple[str, str], ...]) -> Hashes:
    """Hashes of all texts of files, read once."""
    return np.unique(np.concatenate([hashes_of(texts_in(Path(path))) for path, _ in files]))
