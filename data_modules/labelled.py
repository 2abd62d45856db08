"""Labelled texts and pairs of texts: for classifiers."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from data_modules.corpus import Corpus
from data_modules.feeding.collation import Collate
from data_modules.labelling.collation import LabelCollator, Labels, label_numbers
from data_modules.labelling.sources import LabelledSource, resolve_labelled
from data_modules.labelling.store import StoredLabels, write_labelled
from data_modules.reading.sources import LanguageTexts
from data_modules.storing.corpus_report import show
from data_modules.storing.token_store import TokenStore
from data_modules.storing.tokenising import SPLITS, Split
from lit_distill.batch import LabelledBatch
from lit_distill.errors import UserError
from lit_distill.models import LanguageModel

FORMAT = 1
"""Part of every fingerprint, as `tokenising.FORMAT`."""


class LabelledCorpus(Corpus):
    """Texts, or pairs of texts, with a label each, from `sources`.

    Batches are `LabelledBatch`es: `rows` are the first positions of the texts, `targets` the
    numbers of their labels in the model's `id2label`. Data may name labels or number them; what the
    model does not know is an error at start. Every text is one window, cut at `max_length` tokens
    (of a pair, the longer text first).

    Args:
        sources: see `LabelledSource`.
        data_dir: where relative paths of the sources start.
        corpus: see `Corpus`. Validation holds texts out by a hash; a text that occurs with two
            labels is held out as a whole.
    """

    def __init__(self, sources: list[LabelledSource], data_dir: str = ".", **corpus: Any) -> None:
        super().__init__(objective=Labels(), mask_variants=None, **corpus)
        self.sources, self.data_dir = sources, Path(data_dir).expanduser()
        self._labels: dict[Split, StoredLabels] = {}

    def texts(self) -> list[LanguageTexts]:
        """See `Corpus.texts`; every text is a `LabelledText`."""
        return resolve_labelled(self.sources, self.data_dir)

    @property
    def labels(self) -> list[str]:
        """What `targets` number: the labels of the model, or without one those of the data."""
        method = None if self.trainer is None else self.trainer.lightning_module
        if method is None:
            return sorted(self._labels["train"].names)
        assert isinstance(method.students, nn.ModuleDict)
        student = next(iter(method.students.values()))  # all have the same labels
        assert isinstance(student, LanguageModel)
        return student.labels

    @property
    def content(self) -> str:
        """See `Corpus.content`: texts and labels."""
        own = self._labels["train"]
        digest = blake2b(f"{self.train.content} {own.names}".encode(), digest_size=16)
        digest.update(own.numbers.tobytes())
        digest.update(own.firsts.tobytes())
        return digest.hexdigest()

    def provenance(self) -> dict[str, Any]:
        """See `Corpus.provenance`.

        Raises:
            UserError: always.
        """
        raise UserError(
            "A teacher cache holds what a language model says about tokens, and this data has "
            "labels of texts: let the teacher run (leave teacher_cache out)."
        )

    # -- once -----------------------------------------------------------------------------------

    def _tokenise(self, texts: list[LanguageTexts], folder: Path) -> None:
        given = self.settings, self.max_broken, folder
        reports = write_labelled(texts, self.tokenizer, *given)
        show(reports, {split: TokenStore(folder / split) for split in SPLITS})
        for report in reports:
            if report.cut:
                rank_zero_info(
                    f"{report.name}, {report.language}: {report.cut} of {report.rows} texts are "
                    f"longer than {self.max_length} tokens and are cut at their end."
                )

    def _folder(self, texts: list[LanguageTexts]) -> Path:
        same = repr(("labelled", FORMAT, super()._folder(texts).name)).encode()
        return self.cache_dir / blake2b(same, digest_size=16).hexdigest()

    def setup(self, stage: str) -> None:
        """Maps the stores with their labels and checks every language.

        Raises:
            UserError: as of `Corpus`.
        """
        super().setup(stage)
        if not self._labels:
            self._labels = {split: StoredLabels.of(s) for split, s in self._stores.items()}

    # -- feeding --------------------------------------------------------------------------------

    def _collator(self, split: Split) -> Collate[LabelledBatch]:
        store, own = self._stores[split], self._labels[split]
        targets = label_numbers(own.names, self.labels)[own.numbers]
        pairs = any(
            bool((labels.firsts < self._stores[name].lengths).any())
            for name, labels in self._labels.items()
        )
        return LabelCollator(store, targets, own.firsts, pairs, self._pad_id)
