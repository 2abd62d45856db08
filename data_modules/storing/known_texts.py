"""By what the texts of a corpus are known: what it leaves out, and who may not be scored on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import reduce
from pathlib import Path

from data_modules.reading.columns import texts_of
from data_modules.reading.readers import Broken
from data_modules.reading.sources import LanguageTexts
from data_modules.recording.exclusion import Exclusion
from data_modules.storing.tokenising import Split
from lit_distill.files.seen_texts import Hashes, SeenTexts, hashes_of


class KnownTexts(ABC):
    """Corpus whose texts have hashes.

    Attributes:
        exclude: patterns of files whose texts are left out of training and validation.
        data_dir: where relative paths start.
        place: the folder of its splits, once it is set up.
    """

    exclude: list[str]
    data_dir = Path()
    place: Path | None = None

    @abstractmethod
    def texts(self) -> list[LanguageTexts]:
        """Where the texts of every language come from, cheaply: nothing is read yet."""

    @property
    def excluded(self) -> Exclusion:
        """The files of `exclude`.

        Raises:
            UserError: a pattern finds none.
        """
        return Exclusion.of(self.exclude, self.data_dir)

    @property
    def seen_texts(self) -> SeenTexts:
        """What a model has read that was trained and selected on this corpus; after `setup`."""
        assert self.place is not None
        found = [SeenTexts.of(self.place / split) for split in ("train", "validation")]
        return reduce(SeenTexts.joined, filter(None, found))

    def text_hashes(self, split: Split) -> Hashes:
        """Hashes (H,) of the texts of a split; before `setup` of the test split alone.

        Raises:
            UserError: a file cannot be read, or the record of the corpus is damaged.
        """
        if self.place is not None:
            noted = SeenTexts.of(self.place / split)
            assert noted is not None
            return noted.hashes
        assert split == "test", "which texts are held out is known after `setup`"
        readers = [reader for texts in self.texts() for reader in texts.test]
        rows = (row for reader in readers for row in reader.rows() if not isinstance(row, Broken))
        return hashes_of(text for row in rows for text in texts_of(row))
