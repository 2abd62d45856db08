"""How a student starts: from a checkpoint, carved from the teacher, or fresh.

A student is written down as a small frozen object, chosen in a config by `class_path`; weights
exist only after `build`.
"""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

import torch
from transformers import PretrainedConfig

from lit_distill.errors import UserError
from lit_distill.knobs import Count, CountOrNone, check_knobs
from lit_distill.models.anatomy import Anatomy
from lit_distill.models.architectures import anatomy_of, anatomy_of_type
from lit_distill.models.carving import (
    carve_config,
    carve_layers,
    distilbert_config,
    distilbert_weights,
    pick_layers,
)
from lit_distill.models.language_model import LanguageModel
from lit_distill.models.pretrained import open_model


class Student(ABC):
    """A way to start a student."""

    @abstractmethod
    def build(self, teacher: LanguageModel | None, vocab_size: int) -> LanguageModel:
        """The student with its initial weights: float32, eval mode, all parameters trainable.

        Args:
            teacher: the teacher, if there is one; not changed, and nothing is shared with it.
            vocab_size: number of tokens of the tokenizer, for fresh students without a teacher;
                0 if unknown.

        Raises:
            UserError: it cannot be built.
        """


@dataclass(frozen=True)
class PretrainedStudent(Student):
    """A saved model, continued.

    Attributes:
        name: local folder or hub name.
        revision: branch, tag or commit on the hub.
        fresh_head: accept a checkpoint without a language-model head; it then starts at random.
    """

    name: str
    revision: str | None = None
    fresh_head: bool = False

    def build(self, teacher: LanguageModel | None, vocab_size: int) -> LanguageModel:
        """See `Student.build`."""
        del teacher, vocab_size
        return LanguageModel(open_model(self.name, self.revision, torch.float32, self.fresh_head))


Layers = list[CountOrNone]
"""Numbers of layers from 0."""


@dataclass(frozen=True)
class CarvedStudent(Student):
    """Some layers of the teacher; embeddings and head are copied whole.

    Of n teacher layers (numbered from 0) k are kept:

    - every_other: layer floor(i * n / k) for i = 0 ... k-1 (12 -> 6: 0, 2, 4, 6, 8, 10)
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
    """

    layers: Literal["every_other", "first", "last", "distilbert"] | list[CountOrNone] = (
        "every_other"
    )
    num_layers: Count | None = None
    distilbert: bool = False
    encoder_layers: Literal["every_other", "first", "last"] | Layers | None = None

    def __post_init__(self) -> None:
        check_knobs(CarvedStudent, vars(self))

    def build(self, teacher: LanguageModel | None, vocab_size: int) -> LanguageModel:
        """See `Student.build`."""
        del vocab_size
        if teacher is None:
            raise UserError(
                "CarvedStudent takes its layers from a teacher and none is given: set "
                "model.init_args.teacher.name, or use PretrainedStudent or FreshStudent."
            )
        picked = pick_layers(self.layers, self.num_layers, len(teacher.layers))
        encoder = self._encoder_layers(teacher)
        weights = carve_layers(teacher, picked, encoder)
        if self.distilbert:
            anatomy = anatomy_of_type("distilbert")
            config = distilbert_config(teacher, len(picked))
            weights = distilbert_weights(weights)
        else:
            anatomy, config = teacher.anatomy, carve_config(teacher, picked, encoder)
        student = _fresh_model(anatomy, config)
        student.model.load_state_dict(weights, strict=True)  # copies, and widens to float32
        if student.model.can_generate():
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

    def build(self, teacher: LanguageModel | None, vocab_size: int) -> LanguageModel:
        """See `Student.build`."""
        if self.model_type is not None:
            anatomy = anatomy_of_type(self.model_type)
            config = self._type_defaults(anatomy, teacher, vocab_size)
        elif teacher is not None:
            anatomy, config = teacher.anatomy, teacher.config
        else:
            raise UserError(
                "FreshStudent has neither a teacher to take its config from nor a model_type: set "
                "model.init_args.student.init_args.model_type, for example to 'bert'."
            )
        return _fresh_model(anatomy, override_config(config, self.config, anatomy))

    def _type_defaults(
        self, anatomy: Anatomy, teacher: LanguageModel | None, vocab_size: int
    ) -> PretrainedConfig:
        """The type's own config, with the vocabulary of the teacher or else of the tokenizer."""
        config = anatomy.model_class().config_class()
        if teacher is not None:
            config.vocab_size = teacher.vocab_size
            for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
                setattr(config, name, getattr(teacher.config, name))
        elif vocab_size:
            config.vocab_size = vocab_size
        elif "vocab_size" not in self.config:
            raise UserError(
                "FreshStudent does not know its vocab_size: give a tokenizer (--tokenizer), a "
                "teacher, or vocab_size in its config."
            )
        return config


def override_config(
    config: PretrainedConfig, changes: dict[str, Any], anatomy: Anatomy
) -> PretrainedConfig:
    """A new config with `changes`; the feed-forward width follows the hidden size.

    Raises:
        UserError: an unknown key, a value of the wrong type, or a hidden size that the number of
            heads does not divide.
    """
    values = config.to_dict()
    aliases = type(config).attribute_map
    for key in changes:
        if key not in values and key not in aliases:
            known = sorted({*values, *aliases})
            close = get_close_matches(key, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}."
            raise UserError(f"A {config.model_type} config has no key {key!r}: {hint}")
    changed = {aliases.get(key, key): value for key, value in changes.items()}
    values |= _followers(values, {**values, **changed}) | changed
    try:
        new = type(config).from_dict(values)
    except Exception as error:  # Hugging Face validates the types of fields
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"FreshStudent's config cannot be used: {reason}") from error
    for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
        if getattr(new, key) < 1:
            raise UserError(f"FreshStudent's {key} is {getattr(new, key)}: it must be at least 1.")
    if (new.pad_token_id or 0) >= new.vocab_size:
        raise UserError(
            f"FreshStudent's pad_token_id {new.pad_token_id} is outside its vocabulary of "
            f"{new.vocab_size}: give the tokenizer's pad_token_id in its config."
        )
    for name in anatomy.intermediate_sizes:
        _fit_width(new, config, name in changed, name)
    _check_heads(new)
    return new


def _followers(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Keys that configs fill in from others and that must follow them."""
    followers: dict[str, Any] = {}
    kinds = old.get("layer_types")
    if kinds and new["num_hidden_layers"] != len(kinds):
        count = new["num_hidden_layers"]
        followers["layer_types"] = kinds[:count] if count <= len(kinds) else None
    shape = ("hidden_size", "num_attention_heads")
    if old.get("head_dim") and old["head_dim"] * old[shape[1]] == old[shape[0]]:
        followers["head_dim"] = new[shape[0]] // max(new[shape[1]], 1)
    return followers


def _fit_width(new: PretrainedConfig, old: PretrainedConfig, given: bool, name: str) -> None:
    """Scales a feed-forward width along with the hidden size, unless it was given."""
    if given or getattr(old, name) is None:  # None (GPT-2) follows by itself
        return
    scaled, rest = divmod(getattr(old, name) * new.hidden_size, old.hidden_size)
    if rest:
        raise UserError(
            f"{name} {getattr(old, name)} does not scale with hidden_size "
            f"{old.hidden_size} -> {new.hidden_size} to a whole number: give {name} as well."
        )
    setattr(new, name, scaled)


def _check_heads(config: PretrainedConfig) -> None:
    """Refuses heads that do not divide what they share."""
    width, heads = config.hidden_size, config.num_attention_heads
    if width % heads:
        raise UserError(
            f"hidden_size {width} is not divisible by num_attention_heads {heads}: "
            f"{_nearest_divisor(width, heads)} heads would do."
        )
    groups = getattr(config, "num_key_value_heads", None)  # only configs that know of groups
    if groups and heads % groups:
        raise UserError(
            f"num_attention_heads {heads} is not divisible by num_key_value_heads {groups}: give "
            f"num_key_value_heads as well; {_nearest_divisor(heads, groups)} would do."
        )


def _nearest_divisor(number: int, wanted: int) -> int:
    divisors = [n for n in range(1, number + 1) if number % n == 0]
    return min(divisors, key=lambda n: abs(n - wanted))


def _fresh_model(anatomy: Anatomy, config: PretrainedConfig) -> LanguageModel:
    """A model with fresh float32 weights, tied as its config says."""
    config.architectures, config.dtype = [anatomy.architecture], torch.float32
    # What a class builds follows torch's default dtype, which a trainer's precision may have set.
    return LanguageModel(anatomy.model_class()(config).to(torch.float32)).eval()


def student_state(model: LanguageModel) -> dict[str, Any]:
    """What a checkpoint needs to build the student again: its config, as plain JSON values."""
    config = json.loads(model.config.to_json_string(use_diff=False))
    return {"config": {**config, "architectures": [model.anatomy.architecture]}}


def student_from_state(state: dict[str, Any]) -> LanguageModel:
    """A student of the saved shape in float32; its weights are to be loaded into it.

    Raises:
        UserError: its architecture is not supported.
    """
    anatomy = anatomy_of(state["config"]["architectures"][0])
    return _fresh_model(anatomy, anatomy.model_class().config_class.from_dict(state["config"]))
