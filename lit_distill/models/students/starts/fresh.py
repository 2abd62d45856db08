"""A student of random weights in a shape of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import PretrainedConfig

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Anatomy, Predicted
from lit_distill.models.architectures.table import anatomy_of_type
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.body.ties import draw_own_head, has_own_head
from lit_distill.models.students.fresh_model import absent_in, fresh_model
from lit_distill.models.students.narrowing.directions import compressed
from lit_distill.models.students.starts.carving import labels_of
from lit_distill.models.students.starts.config_changes import override_config
from lit_distill.models.students.student_spec import Student


@dataclass(frozen=True)
class FreshStudent(Student):
    """Random weights in a shape of your own.

    Where `config` changes hidden_size and not the feed-forward width, that width is scaled along
    (BERT: 768 x 3072 -> 384 x 1536).

    Attributes:
        model_type: "bert", "modernbert", "gpt2", "llama", ... (a config.model_type), whose default
            config is then the start; None starts from the teacher's config.
        config: what to change in it, by Hugging Face's keys, such as num_hidden_layers.
        embeddings: of the vocabulary: random; or the teacher's table E (V, D) in the d dimensions
            of the student, of the same tokens. "svd": U_d S_d, which is E V_d, as XtremeDistil
            describes it. "pca": (E - its mean row) V_d, V_d of that difference, as its code does.
            A head that is tied to the embeddings begins with them.

    Source of `embeddings`: XtremeDistil (Mukherjee and Awadallah, 2020,
    https://arxiv.org/abs/2004.05686); microsoft/xtreme-distil-transformers, huggingface_utils.py.
    BiStil's code takes U_d without S_d, which is not offered.
    """

    model_type: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    embeddings: Literal["random", "svd", "pca"] = "random"

    def start(
        self, teacher: LanguageModel | None, vocab_size: int, needs_head: bool = True
    ) -> LanguageModel:
        """See `Student.start`."""
        del needs_head  # it has a head unless its teacher has none
        if self.model_type is not None:
            own = None if teacher is None else teacher.anatomy
            kind = (own.predicts, own.has_head) if own else (Predicted.TOKENS, True)
            anatomy = anatomy_of_type(self.model_type, *kind)
            config = self._type_defaults(anatomy, teacher, vocab_size)
        elif teacher is not None:
            anatomy, config = teacher.anatomy, teacher.config
        else:
            raise UserError(
                "FreshStudent has neither a teacher to take its config from nor a model_type: set "
                "model.init_args.student.init_args.model_type, for example to 'bert'."
            )
        changes = self.config
        if teacher is not None and self.model_type is None and has_own_head(teacher.model, anatomy):
            changes = {"tie_word_embeddings": False, **changes}
        config = override_config(config, changes, anatomy)
        student = fresh_model(anatomy, config, absent_in(teacher, anatomy))
        if changes.get("tie_word_embeddings") is False:
            draw_own_head(student.model, anatomy)
        if self.embeddings != "random":
            _take_embeddings(student, teacher, self.embeddings)
        return student

    def _type_defaults(
        self, anatomy: Anatomy, teacher: LanguageModel | None, vocab_size: int
    ) -> PretrainedConfig:
        """The type's own config, with vocabulary and labels of the teacher, or the tokenizer's."""
        config = anatomy.model_class().config_class()
        if teacher is not None:
            config.vocab_size = teacher.vocab_size
            for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
                setattr(config, name, getattr(teacher.config, name))
            if teacher.anatomy.has_task:
                config.update(labels_of(teacher.config))
        elif vocab_size:
            config.vocab_size = vocab_size
        elif "vocab_size" not in self.config:
            raise UserError(
                "FreshStudent does not know its vocab_size: give a tokenizer (--tokenizer), a "
                "teacher, or vocab_size in its config."
            )
        return config


@torch.no_grad()
def _take_embeddings(
    student: LanguageModel, teacher: LanguageModel | None, how: Literal["svd", "pca"]
) -> None:
    """Fills the student's table of the vocabulary with what its width holds of the teacher's.

    Raises:
        UserError: there is no teacher, his table has other tokens or is narrower, or the student
            has several tables.
    """
    if teacher is None:
        raise UserError(
            f"FreshStudent's embeddings={how} are a teacher's and none is given: set "
            "model.init_args.teacher.name, or leave embeddings out."
        )
    own = student.model.get_input_embeddings().weight
    theirs = teacher.model.get_input_embeddings().weight
    if len(own) != len(theirs):
        raise UserError(
            f"FreshStudent's embeddings={how}: the student has {len(own)} tokens and the teacher "
            f"{len(theirs)}, so rows would not be of one token: leave vocab_size out of its config."
        )
    if own.shape[1] > theirs.shape[1]:
        raise UserError(
            f"FreshStudent's embeddings={how}: a table of width {theirs.shape[1]} has no "
            f"{own.shape[1]} directions: choose a hidden_size of at most {theirs.shape[1]}."
        )
    if any(own is spare for spare in student.anatomy.unread(student.model)):
        raise UserError(
            f"FreshStudent's embeddings={how}: the student reads sources and targets by tables of "
            "their own: set tie_word_embeddings to true in its config, or leave embeddings out."
        )
    own.copy_(compressed(theirs, own.shape[1], how))
