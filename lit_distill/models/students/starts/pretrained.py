"""A student that begins as a saved model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Predicted, TaskHead
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.loading.pretrained import open_model, predicted_by
from lit_distill.models.students.student_spec import Student


@dataclass(frozen=True)
class PretrainedStudent(Student):
    """A saved model, continued.

    Attributes:
        name: local folder or hub name.
        revision: branch, tag or commit on the hub.
        fresh_head: accept a checkpoint without its head; it then starts at random.
        labels: names of the labels of a classifier of texts, in order; short for a `head` of them.
        head: what a task needs, on the body of a language model: it starts at random. A checkpoint
            that has a task of its own, the same or another one, is refused unless `fresh_head` says
            that this head is to go. None: the checkpoint's own head, or that of the data's task
            where it has none of a task.
    """

    name: str
    revision: str | None = None
    fresh_head: bool = False
    labels: list[str] | None = None
    head: TaskHead | None = None

    def __post_init__(self) -> None:
        if self.labels is not None and self.head is not None:
            raise UserError("PretrainedStudent has labels and a head: give either.")
        self._new_head()

    @property
    def own_tokenizer(self) -> str:
        """See `Student`."""
        return self.name if self.revision is None else f"{self.name}@{self.revision}"

    def start(
        self, teacher: LanguageModel | None, vocab_size: int, needs_head: bool = True
    ) -> LanguageModel:
        """See `Student.start`."""
        del teacher, vocab_size
        start = self.fresh_head, needs_head, self._new_head()
        return LanguageModel(open_model(self.name, self.revision, torch.float32, *start))

    def for_task(self, head: TaskHead) -> PretrainedStudent:
        """See `Student.for_task`; `labels`, `head` and a checkpoint of a task stay what they are.

        Raises:
            UserError: the checkpoint cannot be found.
        """
        bare = predicted_by(self.name, self.revision) == Predicted.TOKENS
        return replace(self, head=head) if bare and self._new_head() is None else self

    def _new_head(self) -> TaskHead | None:
        """The head that is to start anew, if any."""
        if self.labels is None:
            return self.head
        return TaskHead(Predicted.TEXT_LABELS, tuple(self.labels))
