"""A classifier as it is: what a run has trained is asked, and nothing is trained again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from lightning.pytorch import LightningDataModule, Trainer

from data_modules import LabelledCorpus
from data_modules.labelling.collation import label_numbers
from data_modules.text.deduplication import marks_of
from lit_distill.errors import UserError
from lit_distill.knobs import Count, check_knobs
from lit_distill.models import TeacherSpec
from lit_distill.tools.evaluating.cells.mode import Mode, Question
from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions
from lit_distill.tools.evaluating.cells.reading import KINDS, labelled, texts_of
from lit_distill.tools.evaluating.modes.answers import answers
from lit_distill.tools.evaluating.modes.fine_tuning import quiet


@dataclass(frozen=True)
class AsTrained(Mode):
    """Asks a model by the head it has: students that learnt a task from a teacher alone.

    With `ranks_by` the data's pairs are a query and a candidate each, and are ranked: the score of
    a candidate is the log-probability of that label, which makes it relevant.

    Attributes:
        ranks_by: a label of the data; None: its labels are judged one by one.
        batch_tokens: most positions of a batch, padding included; the data's `max_length` at least.
    """

    random: ClassVar[bool] = False
    labels: ClassVar[bool] = True
    ranks_by: str | None = None
    batch_tokens: Count = 1024

    def __post_init__(self) -> None:
        check_knobs(AsTrained, vars(self))

    def check(self, model: str, data: LightningDataModule) -> None:
        """See `Mode`."""
        head = labelled(model, data, "AsTrained").task_head
        if self.ranks_by is not None and self.ranks_by not in head.labels:
            raise UserError(
                f"AsTrained.ranks_by is {self.ranks_by!r}, and the labels of the data are "
                f"{', '.join(head.labels) or 'none'}: name the one of relevant candidates."
            )

    def predict(self, question: Question) -> Predictions:
        """See `Mode`."""
        data = labelled(question.model, question.data, "AsTrained")
        data.batch_tokens = max(self.batch_tokens, data.max_length)
        model, head = TeacherSpec(question.model).build(), data.task_head
        if model.anatomy.predicts != head.predicts:
            raise UserError(
                f"AsTrained asks a model by its own head, and {question.model} predicts "
                f"{model.anatomy.predicts.value}, the data {head.predicts.value}: ask by "
                "FineTuning, which trains one."
            )
        with quiet():
            data.trainer = Trainer(
                devices=1, logger=False, enable_checkpointing=False, enable_model_summary=False
            )
            found = answers(model, data, KINDS[head.predicts])
        if head.labels:
            order = label_numbers(head.labels, model.labels)
            found = replace(found, scores=found.scores[:, order], labels=head.labels)
        return found if self.ranks_by is None else self._ranked(found, data)

    def _ranked(self, found: Predictions, data: LabelledCorpus) -> Predictions:
        """The pairs (N,) as candidates of their queries, of which each language has its own."""
        assert self.ranks_by is not None
        column = list(found.labels).index(self.ranks_by)
        rows = texts_of(data)["test"].rows
        pairs = marks_of([row.content for row in rows]).tolist()
        asked = marks_of([row.text.encode() for row in rows]).tolist()
        query_of = dict(zip(pairs, asked, strict=True))
        queries = np.array([query_of[own] for own in found.examples.tolist()], dtype=np.uint64)
        languages = marks_of([language.encode() for language in data.languages])
        examples = queries ^ languages[found.language]
        order = np.argsort(examples, kind="stable")
        return Predictions(
            Kind.RANKING,
            examples[order],
            found.language[order],
            found.languages,
            (found.targets == column)[order].astype(np.float64),
            found.scores[order, column : column + 1],
        )
