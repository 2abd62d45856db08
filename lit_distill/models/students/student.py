"""How a student starts: from a checkpoint, carved from the teacher, or fresh."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from transformers import PretrainedConfig

from lit_distill.errors import UserError
from lit_distill.knobs import Count, CountOrNone, check_knobs
from lit_distill.models.architectures.anatomy import Anatomy, Predicted, TaskHead
from lit_distill.models.architectures.table import anatomy_of_type
from lit_distill.models.body.absent import absent, leave_out
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.body.ties import (
    differing_names,
    draw_own_head,
    has_own_head,
    keep_apart,
)
from lit_distill.models.loading.pretrained import open_model, predicted_by
from lit_distill.models.students.carving import (
    carve_config,
    carve_layers,
    distilbert_config,
    distilbert_weights,
    labels_of,
    pick_layers,
    respect_kinds,
    with_head_of,
)
from lit_distill.models.students.config_changes import override_config
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


Layers = list[CountOrNone]
"""Numbers of layers from 0."""


@dataclass(frozen=True)
class LayerCopyStudent(Student):
    """Some layers of the teacher; embeddings and head are copied whole.

    Of n teacher layers (numbered from 0) k are kept:

    - every_other: layer floor(i * n / k) for i = 0 ... k-1 (12 -> 6: 0, 2, 4, 6, 8, 10); of a
      teacher with several kinds of attention (Gemma 2 and 3), each kind is thinned out like that
      where it would lose its share (Gemma 3, 18 -> 9: 0, 2, 4, 5, 7, 9, 11, 12, 14)
    - first: the lowest k
    - last: the highest k
    - distilbert: DistilBERT's own 0, 2, 4, 7, 9, 11 of 12
    - a list: those, in that order

    Attributes:
        layers: the choice.
        num_layers: k; by default floor(n / 2), at least 1.
        encoder_layers: the same choice for the encoder of an encoder-decoder (`layers` are its
            decoder's); None keeps it whole (shrink and fine-tune).
        distilbert: turn a BERT teacher into a DistilBERT: no pooler, and no token types (type 0 is
            folded into the positions, so that the embeddings' output stays the teacher's).
        fresh_head: where the teacher is a body alone and logits are trained (`MaskedLM`), begin
            with its language model's head at random.
    """

    layers: Literal["every_other", "first", "last", "distilbert"] | list[CountOrNone] = (
        "every_other"
    )
    num_layers: Count | None = None
    distilbert: bool = False
    encoder_layers: Literal["every_other", "first", "last"] | Layers | None = None
    fresh_head: bool = False

    def __post_init__(self) -> None:
        check_knobs(LayerCopyStudent, vars(self))

    @property
    def heads_itself(self) -> bool:
        """See `Student`."""
        return self.fresh_head

    def start(
        self, teacher: LanguageModel | None, vocab_size: int, needs_head: bool = True
    ) -> LanguageModel:
        """See `Student.start`."""
        del vocab_size
        if teacher is None:
            raise UserError(
                "LayerCopyStudent takes its layers from a teacher and none is given: set "
                "model.init_args.teacher.name, or use PretrainedStudent or FreshStudent."
            )
        picked = pick_layers(self.layers, self.num_layers, len(teacher.layers))
        if kinds := teacher.config.to_dict().get("layer_types"):
            picked = respect_kinds(self.layers, picked, kinds)
        encoder = self._encoder_layers(teacher)
        weights = carve_layers(teacher, picked, encoder)
        if self.distilbert:
            own = teacher.anatomy
            anatomy = anatomy_of_type("distilbert", own.predicts, own.has_head)
            config = distilbert_config(teacher, len(picked))
            weights = distilbert_weights(weights)
        else:
            anatomy, config = teacher.anatomy, carve_config(teacher, picked, encoder)
        body = self.fresh_head and needs_head and not anatomy.has_head
        if body:  # of a class with a head
            anatomy = anatomy_of_type(anatomy.model_type)
        student = fresh_model(anatomy, config, _absent_in(teacher, anatomy))
        if body:
            weights = with_head_of(student, weights)
        keep_apart(student.model, differing_names(student.model, weights))
        student.model.load_state_dict(weights, strict=True)  # copies, and widens to float32
        if student.model.can_generate() and not body:
            student.model.generation_config = copy.deepcopy(teacher.model.generation_config)
        return student

    def _encoder_layers(self, teacher: LanguageModel) -> list[int]:
        count = len(teacher.anatomy.encoder_layers(teacher.model))
        if self.encoder_layers is None:
            return list(range(count))
        if not count:
            raise UserError(
                f"encoder_layers is for encoder-decoders, and the teacher is a "
                f"{type(teacher.model).__name__}: leave it out."
            )
        return pick_layers(self.encoder_layers, None, count)


@dataclass(frozen=True)
class FreshStudent(Student):
    """Random weights in a shape of your own.

    Where `config` changes hidden_size and not the feed-forward width, that width is scaled along
    (BERT: 768 x 3072 -> 384 x 1536).

    Attributes:
        model_type: "bert", "modernbert", "gpt2", "llama", ... (a config.model_type), whose default
            config is then the start; None starts from the teacher's config.
        config: what to change in it, by Hugging Face's keys, such as num_hidden_layers.
    """

    model_type: str | None = None
    config: dict[str, Any] = field(default_factory=dict)

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
        student = fresh_model(anatomy, config, _absent_in(teacher, anatomy))
        if changes.get("tie_word_embeddings") is False:
            draw_own_head(student.model, anatomy)
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


def _absent_in(teacher: LanguageModel | None, anatomy: Anatomy) -> list[str]:
    """Optional modules that a student goes without because its teacher does."""
    missing = [] if teacher is None else absent(teacher.model, teacher.anatomy)
    return [path for path in anatomy.optional if path in missing]


def fresh_model(
    anatomy: Anatomy, config: PretrainedConfig, without: Iterable[str] = ()
) -> LanguageModel:
    """A model with fresh float32 weights, tied as its config says, without some modules."""
    config.architectures, config.dtype = [anatomy.architecture], torch.float32
    # What a class builds follows torch's default dtype, which a trainer's precision may have set.
    model = anatomy.model_class()(config).to(torch.float32)
    leave_out(model, without)
    return LanguageModel(model).eval()
