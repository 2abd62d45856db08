"""Labelled texts: for classifiers of texts and of words, regression, choices and answers."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerFast

from data_modules.corpus import Corpus
from data_modules.feeding.collation import Collate
from data_modules.feeding.mixing import Member
from data_modules.feeding.sampling import shares_of_trained
from data_modules.labelling.checks import check_columns, labels_of
from data_modules.labelling.collation import VIEW, LabelCollator, Labels, Look, label_numbers
from data_modules.labelling.encoding import Encoder
from data_modules.labelling.noise import Noise
from data_modules.labelling.noisy_reads import NoisyReads
from data_modules.labelling.sources import LabelledSource, resolve_labelled
from data_modules.labelling.store import Views, write_labelled
from data_modules.labelling.stored import StoredLabels, StoredReads
from data_modules.objectives.objectives import VALIDATION_SEED
from data_modules.reading.sources import LanguageTexts
from data_modules.storing.corpus_report import show
from data_modules.storing.token_store import TokenStore
from data_modules.storing.tokenising import SPLITS, Split
from data_modules.tasks.task import Task
from data_modules.tasks.text_tasks import Classification
from data_modules.tasks.word_tasks import AnswerSpans
from data_modules.text.markers import plain_engine
from lit_distill.batch import LabelledBatch
from lit_distill.errors import UserError
from lit_distill.models import LanguageModel, Predicted, TaskHead, load_tokenizer

FORMAT = 2
"""Part of every fingerprint, as `tokenising.FORMAT`."""


class LabelledCorpus(Corpus):
    """Texts, or several that are read together, with what is right about them, from `sources`.

    Batches are `LabelledBatch`es. Of labels, `targets` are their numbers in the model's `id2label`:
    data may name labels or number them, and what the model does not know is an error at start.
    Every example is one window; a text is cut at `max_length` tokens (of a pair, the longer one
    first). With a view of its own (`noise`, `teacher_tokenizer`, or `teacher_text` of a source)
    batches hold what the teacher reads under keys that begin with `teacher_`.

    Args:
        sources: see `LabelledSource`.
        data_dir: where relative paths of the sources start.
        task: what is asked about the texts.
        labels: names of all labels, in order; None: those of the data, sorted.
        noise: changes what students read, in validation too; teachers read the clean text.
        teacher_tokenizer: of a teacher that has another one: its name or folder.
        corpus: see `Corpus`. Validation holds texts out by a hash; a text that occurs with two
            labels is held out as a whole.

    Attributes:
        task_head: the head that a model needs. There after `setup`.
        member: of which mixture of tasks it is a part; None: of none.
    """

    def __init__(
        self,
        sources: list[LabelledSource],
        data_dir: str = ".",
        task: Task = Classification(),  # noqa: B008 (frozen)
        labels: list[str] | None = None,
        noise: Noise | None = None,
        teacher_tokenizer: str | None = None,
        **corpus: Any,
    ) -> None:
        super().__init__(objective=Labels(), mask_variants=None, **corpus)
        self.sources, self.data_dir = sources, Path(data_dir).expanduser()
        if (noise or teacher_tokenizer) and isinstance(task, AnswerSpans):
            raise UserError(
                "AnswerSpans asks for places in the text that a student reads, and a teacher that "
                "reads another text has others: leave noise and teacher_tokenizer out."
            )
        if labels is not None and not task.named:
            raise UserError(f"{type(task).__name__} has no named labels: leave `labels` out.")
        self._task, self._names, self.noise = task, labels, noise
        self._teacher = load_tokenizer(teacher_tokenizer) if teacher_tokenizer else None
        self._labels: dict[Split, StoredLabels] = {}
        self.member: Member | None = None

    def texts(self) -> list[LanguageTexts]:
        """See `Corpus.texts`; every text is a `LabelledText`."""
        return resolve_labelled(self.sources, self.data_dir, self._task)

    @property
    def labels(self) -> list[str]:
        """What `targets` number: the labels of the model, or without one those of the data."""
        method = None if self.trainer is None else self.trainer.lightning_module
        if method is None:
            return list(self.task_head.labels)
        assert isinstance(method.students, nn.ModuleDict)
        of_all = next(iter(method.students))  # which have the same labels, but of tasks
        student = method.students[self.member.task if self.member else of_all]
        assert isinstance(student, LanguageModel)
        return student.labels

    @property
    def predicts(self) -> Predicted:
        """What the task's answers are; known before `setup`."""
        return self._task.predicts

    def examples(self, split: Split) -> NDArray[np.uint64]:
        """Content hashes (W,) of every window's texts, without their labels.

        They are `marks_of` the text, so that lines of a corpus can be compared with them.
        """
        return self._labels[split].examples

    @property
    def content(self) -> str:
        """See `Corpus.content`: texts and labels."""
        own = self._labels["train"]
        digest = blake2b(f"{self.train.content} {own.names}".encode(), digest_size=16)
        digest.update(own.answers.astype(np.int64 if self._task.named else np.float64).tobytes())
        digest.update(own.reads.firsts.tobytes())
        if own.teacher is not None:
            digest.update(own.teacher.store.content.encode())
        if (self._task, self.noise) != (Classification(), None):
            digest.update(repr((self._task, self.noise)).encode())
            digest.update(own.reads.rows.tobytes())
        return digest.hexdigest()

    @property
    def teacher_tokenizer(self) -> PreTrainedTokenizerFast | None:
        """What cuts the teacher's view, where that is not `tokenizer`."""
        return self._teacher

    def provenance(self) -> dict[str, Any]:
        """See `Corpus.provenance`: what a teacher of labels reads, which no pass or seed changes.

        Raises:
            UserError: the task has no labels, or noise decides which words have one.
        """
        name = type(self._task).__name__
        if not self.predicts.labelled:
            raise UserError(
                f"A teacher cache holds probabilities of labels, and {name} asks for "
                f"{self.predicts.value}: let the teacher run (leave teacher_cache out)."
            )
        if self.noise is not None and self._task.by_word:
            raise UserError(
                f"{type(self.noise).__name__} decides in every pass anew which words can be read, "
                f"and a teacher cache holds the same words of {name} in all: leave noise out, or "
                "let the teacher run (leave teacher_cache out)."
            )
        own = self._labels["train"]
        return {
            "corpus": self.content,
            "windows": len(self.train.lengths),
            "task": repr(self._task),
            "mask_variants": None,
            "view": VIEW if own.teacher is not None or self.noise is not None else "",
            "read": (own.teacher or own.reads).fingerprint,
        }

    # -- once -----------------------------------------------------------------------------------

    def _tokenise(self, texts: list[LanguageTexts], folder: Path) -> None:
        given = self.settings, self.max_broken, folder
        views = Views(self.tokenizer, self._reads_otherwise, self.noise is not None)
        reports = write_labelled(texts, self._task, views, *given)
        stores: dict[str, TokenStore] = {split: TokenStore(folder / split) for split in SPLITS}
        if self._task.named:
            check_columns(self._task, [StoredLabels.of(store) for store in stores.values()])
        show(reports, stores)
        for report in reports:
            if report.cut:
                rank_zero_info(
                    f"{report.name}, {report.language}: {report.cut} of {report.rows} texts are "
                    f"longer than {self.max_length} tokens and are cut at their end."
                )

    @property
    def _reads_otherwise(self) -> Any:
        """The tokenizer of a teacher whose tokens have to be stored beside; None: there is none."""
        own = any(source.teacher_text for source in self.sources)
        return self._teacher or (self.tokenizer if own else None)

    def _folder(self, texts: list[LanguageTexts]) -> Path:
        other = self._reads_otherwise and plain_engine(self._reads_otherwise).to_str()
        asked = repr(self._task), other, self.noise is not None
        same = repr(("labelled", FORMAT, super()._folder(texts).name, *asked)).encode()
        return self.cache_dir / blake2b(same, digest_size=16).hexdigest()

    def setup(self, stage: str) -> None:
        """Maps the stores with their labels and checks every language.

        Raises:
            UserError: as of `Corpus`; labels cannot be learnt or measured.
        """
        super().setup(stage)
        if self._labels:
            return
        labels = {split: StoredLabels.of(store) for split, store in self._stores.items()}
        names = labels_of(self._task, labels, self._names) if self._task.named else ()
        if self.noise is not None and not self.noise.changes(self.languages):
            raise UserError(
                f"{type(self.noise).__name__} changes no text in {', '.join(self.languages)}: "
                "leave data.init_args.noise out, or use Typos."
            )
        self.task_head, self._labels = TaskHead(self._task.predicts, names), labels

    # -- feeding --------------------------------------------------------------------------------

    def shares(self) -> NDArray[np.float64]:
        """See `Corpus.shares`; languages that are measured only have none."""
        return shares_of_trained(self.sampler, self.training_tokens(), self._weights)

    def _lengths(self, split: Split) -> NDArray[Any]:
        """See `Corpus._lengths`: texts of one example are padded to the longest of them."""
        own = self._labels[split].reads
        if own.texts <= 1:
            return super()._lengths(split)
        longest: NDArray[Any] = own.lengths.reshape(-1, own.texts).max(1) * own.texts
        return longest

    def _collator(self, split: Split) -> Collate[LabelledBatch]:
        labels, seed = self._labels[split], self.seed if split == "train" else VALIDATION_SEED
        answers: NDArray[Any] = labels.answers
        if self._task.named:
            answers = label_numbers(labels.names, self.labels)[answers.astype(np.int64)] * 1.0
        own = self._look([each.reads for each in self._labels.values()], split, self.tokenizer)
        teacher, noise = None, None
        if labels.teacher is not None:
            reads = [each.teacher for each in self._labels.values() if each.teacher is not None]
            teacher = self._look(reads, split, self._reads_otherwise)
        if self.noise is not None and labels.texts is not None:
            teacher = teacher or own  # who reads the same text, and clean
            encode = Encoder(self.tokenizer, self.max_length, self._task)
            noise = NoisyReads(self.noise, labels.texts, encode, labels.reads.store, seed)
        collate = LabelCollator(labels, answers, self._task, own, teacher, noise)
        return self.member.collator(collate) if self.member else collate

    def _look(self, reads: Sequence[StoredReads], split: Split, tokenizer: Any) -> Look:
        """How the windows of a split are read; pairs are told apart in all splits or in none."""
        own = reads[SPLITS.index(split)]
        return Look(own, int(tokenizer.pad_token_id or 0), any(each.pairs for each in reads))
