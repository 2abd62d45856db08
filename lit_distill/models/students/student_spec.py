"""What every student has, however it starts: what of it is frozen, and how it is changed.

A student is written down as a small frozen object, chosen in a config by `class_path`; weights
exist only after `build`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import TaskHead
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.loading.tokenizers import load_tokenizer
from lit_distill.models.students.freezing import freeze_named
from lit_distill.models.students.surgery import Surgery, operate
from lit_distill.models.vocabularies.trimmed_model import trimmed
from lit_distill.models.vocabularies.vocabulary_map import VocabularyMap


@dataclass(frozen=True, kw_only=True)
class Student(ABC):
    """A way to start a student; a subclass is a frozen dataclass, too.

    Attributes:
        freeze: names of weights that stay as they are, or of whole modules, as patterns:
            "embeddings", "encoder.layer.[0-3]", "*.LayerNorm.*"; see `freeze_named`.
        surgeries: changes to its modules that training needs and its export undoes, such as `LoRA`.
        vocabulary: a folder that `trim-vocabulary` wrote, of what the student reads and writes.
            Teachers with the tokenizer that was trimmed read it through its map. None: the run's
            tokenizer is the one that its start was trained with.
    """

    vocabulary: str | None = None
    freeze: list[str] = field(default_factory=list)
    surgeries: list[Surgery] = field(default_factory=list)

    def build(
        self, teacher: LanguageModel | None, vocab_size: int, needs_head: bool = True
    ) -> LanguageModel:
        """The student as it is trained: started, frozen in part, changed by its surgeries.

        Args:
            teacher: see `start`.
            vocab_size: see `start`.
            needs_head: see `start`.

        Raises:
            UserError: as of `start`; `freeze` names what is not there, or nothing is left to train;
                or a surgery cannot be made; or the start does not read the vocabulary.
        """
        model = self.start(teacher, vocab_size, needs_head)
        if self.vocabulary is not None:
            model = self._reading(model, self.vocabulary)
        freeze_named(model, self.freeze)
        operate(model, self.surgeries)
        if self.freeze or self.surgeries:
            self._note_what_trains(model)
        return model

    @property
    def own_tokenizer(self) -> str | None:
        """Where the tokenizer is that its start was trained with; None: it is its teacher's."""
        return None

    def _reading(self, model: LanguageModel, vocabulary: str) -> LanguageModel:
        """A start that reads a trimmed vocabulary."""
        if self.own_tokenizer is not None:
            own = load_tokenizer(self.own_tokenizer)
            model = trimmed(model, self.own_tokenizer, own, vocabulary, None)
        wanted = VocabularyMap.read(Path(vocabulary).expanduser()).size
        if model.vocab_size != wanted:
            raise UserError(
                f"model.student.vocabulary, {vocabulary}, has {wanted:,} tokens, and the start of "
                f"the {type(self).__name__} has {model.vocab_size:,} rows: a teacher with another "
                "tokenizer, or one that reads a view of its own, cannot be cut to it. Begin with a "
                "PretrainedStudent of the tokenizer that was trimmed, or leave the vocabulary out."
            )
        return model

    @property
    def heads_itself(self) -> bool:
        """Whether it begins with a head for tokens although its teacher has none."""
        return False

    def for_task(self, head: TaskHead) -> Student:
        """The same start with a head that the data's task needs, where it has none of any task.

        Args:
            head: of the data.
        """
        del head
        return self

    @abstractmethod
    def start(
        self, teacher: LanguageModel | None, vocab_size: int, needs_head: bool = True
    ) -> LanguageModel:
        """The student with its initial weights: float32, eval mode, all parameters trainable.

        Args:
            teacher: the teacher, if there is one; not changed, and nothing is shared with it.
            vocab_size: number of tokens of the tokenizer, for fresh students without a teacher;
                0 if unknown.
            needs_head: whether its logits are trained; a student whose start has no head then is
                refused, and otherwise stays without one.

        Raises:
            UserError: it cannot be built.
        """

    def _note_what_trains(self, model: LanguageModel) -> None:
        """Writes for the model card which part of a student trains.

        Raises:
            UserError: none.
        """
        frozen = [f"frozen: {', '.join(self.freeze)}"] if self.freeze else []
        how = "; ".join([*map(str, self.surgeries), *frozen])
        total = sum(parameter.numel() for parameter in model.parameters())
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        if not trained:
            raise UserError(
                f"Nothing of the student, a {type(model.model).__name__}, is left to train "
                f"({how}): freeze less."
            )
        model.notes.append(f"{how}: {trained:,} of {total:,} parameters trainable")
