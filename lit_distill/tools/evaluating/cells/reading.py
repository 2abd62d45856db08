"""What modes read of a task: batches by the tokenizer of a model, or the texts as they are."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from lightning.pytorch import LightningDataModule

from data_modules import Corpus, LabelledCorpus
from data_modules.labelling.collation import label_numbers
from data_modules.storing.splitting import split_rows
from data_modules.storing.tokenising import SPLITS, Split
from data_modules.tasks.rows import LabelledText
from data_modules.text.deduplication import marks_of
from lit_distill.errors import UserError
from lit_distill.models import Predicted, TaskHead
from lit_distill.tools.evaluating.cells.predictions import Floats, Ints, Kind, Predictions

KINDS = {
    Predicted.TEXT_LABELS: Kind.CLASSES,
    Predicted.TOKEN_LABELS: Kind.TAGS,
    Predicted.TEXT_VALUE: Kind.VALUES,
    Predicted.CHOICES: Kind.CLASSES,
}
"""What comes out of each head that can be scored."""


@dataclass(frozen=True)
class Texts:
    """The labelled texts of one split, in the order of the data; D decisions about N texts.

    A decision is about a text, or of labelled words about each word.

    Attributes:
        rows: N texts with what is right about them.
        language: (N,) numbers into `languages`.
        languages: tags.
        head: of the task.
    """

    rows: list[LabelledText]
    language: Ints
    languages: list[str]
    head: TaskHead

    @property
    def decisions(self) -> Ints:
        """(N,) how many decisions there are about each text."""
        tagged = self.head.predicts == Predicted.TOKEN_LABELS
        return np.array([len(row.tags) if tagged else 1 for row in self.rows], dtype=np.int64)

    @property
    def targets(self) -> Floats:
        """(D,) what is right: numbers of labels or of choices, or values."""
        tagged = self.head.predicts == Predicted.TOKEN_LABELS
        said = [tag for row in self.rows for tag in (row.tags if tagged else (row.label,))]
        if not self.head.labels:
            return np.array(said, dtype=np.float64)
        names = sorted({*said})
        numbers = dict(zip(names, label_numbers(names, self.head.labels).tolist(), strict=True))
        return np.array([numbers[name] for name in said], dtype=np.float64)

    def predictions(self, scores: Floats, labels: Sequence[str] = ()) -> Predictions:
        """What somebody says about the texts.

        Args:
            scores: (D, K), see `Kind`.
            labels: names of the K; those of the task where there are any.
        """
        count = self.decisions
        examples = marks_of([row.content for row in self.rows])
        return Predictions(
            KINDS[self.head.predicts],
            np.repeat(examples, count),
            np.repeat(self.language, count),
            self.languages,
            self.targets,
            scores,
            self.head.labels or labels,
        )


def read_by(model: str, data: LightningDataModule) -> LightningDataModule:
    """A copy of a data module, not set up, that reads with the tokenizer of a model.

    Args:
        model: folder or hub name.
        data: as the user gave it; a tokenizer of its own is kept.

    Raises:
        UserError: the model has no tokenizer.
    """
    own = copy.deepcopy(data)
    if isinstance(own, Corpus):
        own.read_with(model)
    return own


def labelled(model: str, data: LightningDataModule, mode: str) -> LabelledCorpus:
    """Labelled data, read by the tokenizer of a model and set up.

    Args:
        model: folder or hub name.
        data: as the user gave it.
        mode: who asks, for messages.

    Raises:
        UserError: there are no labels, no test texts, or nothing that can be scored; or texts or
            labels are not as they should be.
    """
    if not isinstance(data, LabelledCorpus):
        raise UserError(
            f"{mode} asks for the labels of texts, and a {type(data).__name__} has none: give a "
            "LabelledCorpus, or ask by another mode, such as PseudoPerplexity."
        )
    if data.predicts not in KINDS:
        raise UserError(
            f"{mode} asks for labels, numbers and choices, and the answers of this task are "
            f"{data.predicts.value}, of which there is no score yet."
        )
    if not any(language.test for language in data.texts()):
        raise UserError(
            f"{mode} asks about test texts, and no source has any: give `test` files or a "
            "`test_split`. Validation texts choose the best weights, so they are no test."
        )
    own = read_by(model, data)
    assert isinstance(own, LabelledCorpus)
    own.prepare_data()
    own.setup("fit")
    return own


def texts_of(data: LabelledCorpus) -> dict[Split, Texts]:
    """The texts of all splits, as a run would train on them and be measured.

    Args:
        data: set up.

    Raises:
        UserError: a file cannot be read.
    """
    rows: dict[Split, list[LabelledText]] = {split: [] for split in SPLITS}
    numbers: dict[Split, list[int]] = {split: [] for split in SPLITS}
    for file in split_rows(data.texts(), LabelledText, data.settings, data.max_broken):
        for part in file.parts:
            for split, own in part.items():
                rows[split] += [row for _, row in own]
                numbers[split] += [file.number] * len(own)
    return {
        split: Texts(
            rows[split], np.array(numbers[split], dtype=np.int64), data.languages, data.task_head
        )
        for split in SPLITS
    }
