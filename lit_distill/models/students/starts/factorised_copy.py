"""A student of its teacher's layers whose embeddings are two narrow factors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig

from lit_distill.errors import UserError
from lit_distill.knobs import Count, check_knobs
from lit_distill.models.architectures.anatomy import Anatomy, Predicted
from lit_distill.models.architectures.table import anatomy_of_type
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.body.ties import differing_names, keep_apart
from lit_distill.models.students.fresh_model import absent_in, fresh_model
from lit_distill.models.students.narrowing.factorising import (
    POSITIONS,
    WORDS,
    Directions,
    embedding_directions,
    factorised_embeddings,
    narrow_head,
)
from lit_distill.models.students.starts.carving import (
    carve_config,
    carve_layers,
    labels_of,
    pick_layers_of,
)
from lit_distill.models.students.starts.factorised_names import (
    HOLDERS,
    SOURCES,
    own_names,
    plain_names,
)
from lit_distill.models.students.starts.layer_rules import Layers
from lit_distill.models.students.student_spec import Student

_POOLED = (Predicted.TEXT_LABELS, Predicted.TEXT_VALUE, Predicted.CHOICES)
_KEPT = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act"),
    *("intermediate_size", "hidden_dropout_prob", "attention_probs_dropout_prob"),
    *("type_vocab_size", "initializer_range", "layer_norm_eps", "tie_word_embeddings"),
    *("pad_token_id", "bos_token_id", "eos_token_id"),
)


@dataclass(frozen=True)
class FactorisedCopyStudent(Student):
    """The teacher's layers as an ELECTRA or an ALBERT, with embeddings of e dimensions.

    The table of the vocabulary, V x D, becomes V x e, and a projection, e x H, goes from there to
    the layers, which are the teacher's. Both are cut from a singular value decomposition such that
    what the first layer reads is the teacher's as far as e - 1 directions hold it; at the teacher's
    own width the student is the teacher, bit for bit. A head over tokens shares the narrow table
    and has no equivalent: it begins near the teacher's, and training has to repair it. Heads of
    labels and of answers are copied, or refused where the class computes something else.

    Teachers are BERT, RoBERTa, XLM-R, ELECTRA and ALBERT, the last one as an ALBERT alone. An
    ALBERT of a teacher that does not share layers has a group for each.

    Attributes:
        embedding_size: e, from 2 to the width of the teacher's embeddings.
        model_type: "electra" or "albert"; others have no place for a second factor.
        directions: of which table the directions are: "sums", of a word, a position and a type,
            which are what the norm reads; "words", the table of the vocabulary alone, which is then
            the nearest of its rank.
        layers: which layers, as of `LayerCopyStudent`; None: all.
        num_layers: how many, where `layers` is a rule.

    Source: the factors are ALBERT's (Lan et al., 2020, https://arxiv.org/abs/1909.11942, section
    3.1), which trains them from random; see `narrowing/factorising.py` for how they begin here.
    """

    embedding_size: Count
    model_type: str = "electra"
    directions: Directions = "sums"
    layers: Layers | None = None
    num_layers: Count | None = None

    def __post_init__(self) -> None:
        check_knobs(FactorisedCopyStudent, vars(self))
        if self.model_type not in HOLDERS:
            raise UserError(
                f"FactorisedCopyStudent: a {self.model_type} has one table, as wide as its hidden "
                f"states, and no place for a second factor. Those that have one are "
                f"{' and '.join(HOLDERS)}: set model_type to one of them, or use "
                "NarrowCopyStudent, which narrows all of a model."
            )
        if self.num_layers is not None and self.layers is None:
            raise UserError(
                f"FactorisedCopyStudent: num_layers={self.num_layers} is how many, and layers, "
                "which is by what rule, is missing: add layers=every_other."
            )

    def start(
        self, teacher: LanguageModel | None, vocab_size: int, needs_head: bool = True
    ) -> LanguageModel:
        """See `Student.start`."""
        del needs_head
        if teacher is None:
            raise UserError(
                "FactorisedCopyStudent takes its weights from a teacher and none is given: set "
                "model.init_args.teacher.name, or use FreshStudent with model_type=electra."
            )
        self._check(teacher)
        own = teacher.anatomy
        anatomy = anatomy_of_type(self.model_type, own.predicts, own.has_head)
        every = list(range(len(teacher.layers)))
        picked = pick_layers_of(teacher, self.layers or every, self.num_layers)
        weights = self._weights(
            teacher, plain_names(carve_layers(teacher, picked), own), vocab_size or None
        )
        config = self._config(carve_config(teacher, picked), own, anatomy)
        without = {*absent_in(teacher, anatomy)}
        if not any(name.startswith("pooler.") for name in weights):
            without |= {*anatomy.optional}
        student = fresh_model(anatomy, config, without)
        named = own_names(weights, anatomy, student.model.state_dict())
        keep_apart(student.model, differing_names(student.model, named))
        student.model.load_state_dict(named, strict=True)  # copies, and narrows to float32
        return student

    def _weights(
        self, teacher: LanguageModel, weights: dict[str, Tensor], tokens: int | None
    ) -> dict[str, Tensor]:
        """A teacher's weights by plain names, with the embeddings and the head of tokens narrow."""
        offset = teacher.anatomy.position_offset(teacher.config)  # RoBERTa's first rows are no
        weights = {**weights, POSITIONS: weights[POSITIONS][offset:]}  # positions of tokens
        width = weights[WORDS].shape[1]
        if self.embedding_size < width:
            map_De = embedding_directions(weights, self.embedding_size, self.directions, tokens)
            narrow = factorised_embeddings(weights, map_De)
            head = narrow_head(weights, map_De) if "head.decoder.weight" in weights else {}
            return {**weights, **narrow, **head}
        if self.model_type == "albert" and "embeddings_project.weight" not in weights:
            return {**weights, **_identity(width)}
        return weights

    def _config(
        self, config: PretrainedConfig, source: Anatomy, anatomy: Anatomy
    ) -> PretrainedConfig:
        """The config of the student, of the teacher's with its chosen layers."""
        kind = anatomy.model_class().config_class
        if source.model_type == self.model_type:
            return kind.from_dict({**config.to_dict(), "embedding_size": self.embedding_size})
        values = {name: getattr(config, name) for name in _KEPT}
        values |= {
            "embedding_size": self.embedding_size,
            "max_position_embeddings": source.max_length(config),
        }
        dropout = getattr(config, "classifier_dropout", None)
        if self.model_type == "electra":
            values["classifier_dropout"] = dropout
        else:
            rest = config.hidden_dropout_prob if dropout is None else dropout
            values |= {
                "num_hidden_groups": config.num_hidden_layers,
                "classifier_dropout_prob": rest,
            }
        return kind.from_dict(values | (labels_of(config) if source.has_task else {}))

    def _check(self, teacher: LanguageModel) -> None:
        """Refuses what would be another model than the teacher's."""
        own, kind = teacher.anatomy, type(teacher.model).__name__
        alone = own.model_type == "albert" != self.model_type
        if own.model_type not in SOURCES or alone:
            raise UserError(
                f"FactorisedCopyStudent cannot make {_ARTICLES[self.model_type]} of a {kind}: its "
                f"layers are not the same. Teachers are {', '.join(SOURCES)} (an albert's layers "
                "are shared, and stay so with model_type=albert)."
            )
        width = teacher.model.get_input_embeddings().weight.shape[1]
        if not 2 <= self.embedding_size <= width:
            raise UserError(
                f"FactorisedCopyStudent: embedding_size={self.embedding_size}, and the teacher's "
                f"embeddings are {width} wide: choose from 2 to {width}."
            )
        same = own.model_type == self.model_type
        if own.predicts in _POOLED and own.has_head and not same and _pooled_otherwise(self, own):
            raise UserError(
                f"FactorisedCopyStudent: the head of {_ARTICLES[self.model_type]} that predicts "
                f"{own.predicts.value} has another activation than that of a {kind}: "
                f"{'use model_type=electra' if own.model_type == 'electra' else _AS_ALBERT}, or a "
                "teacher without that head."
            )
        ours, theirs = (_activation(each, teacher.config) for each in (self.model_type, own))
        if own.has_head and not own.has_task and ours != theirs:
            raise UserError(
                f"FactorisedCopyStudent: the head of {_ARTICLES[self.model_type]} would have "
                f"{ours} where that of the {kind} has {theirs}: use a teacher without a head, "
                f"or model_type={'albert' if self.model_type == 'electra' else 'electra'}."
            )


_ARTICLES = {"electra": "an ELECTRA", "albert": "an ALBERT"}
_AS_ALBERT = "use model_type=albert"


def _pooled_otherwise(student: FactorisedCopyStudent, own: Anatomy) -> bool:
    """Whether one pools by a tanh and the other (ELECTRA) by a GELU."""
    return "electra" in (student.model_type, own.model_type)


def _activation(kind: str | Anatomy, config: Any) -> str:
    """The activation in the head over tokens: the config's of BERT and ALBERT, else a GELU."""
    name = kind if isinstance(kind, str) else kind.model_type
    return str(config.hidden_act) if name in ("bert", "albert") else "gelu"


def _identity(width: int) -> Mapping[str, Tensor]:
    """A projection that changes nothing."""
    return {
        "embeddings_project.weight": torch.eye(width),
        "embeddings_project.bias": torch.zeros(width),
    }
