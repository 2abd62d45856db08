"""A corpus of local files and hub datasets in many languages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_modules.corpus import Corpus
from data_modules.reading.sources import LanguageTexts, Source, resolve


class MultilingualCorpus(Corpus):
    """Texts from `sources`, sampled by `sampler`, predicted by `objective`.

    Args:
        sources: see `Source`; one entry with `{language}` in its paths can stand for many.
        data_dir: where relative paths of the sources start.
        corpus: see `Corpus`.
    """

    def __init__(self, sources: list[Source], data_dir: str = ".", **corpus: Any) -> None:
        super().__init__(**corpus)
        self.sources, self.data_dir = sources, Path(data_dir).expanduser()

    def texts(self) -> list[LanguageTexts]:
        """See `Corpus.texts`."""
        return resolve(self.sources, self.data_dir)
