"""Names of weights of BERT and its kin, and what ELECTRA and ALBERT call the same weights.

In between, a body has ELECTRA's names without a prefix, and a head over tokens is "head.dense",
"head.norm" and "head.decoder".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from lit_distill.models.architectures.anatomy import Anatomy

Rules = tuple[tuple[str, str], ...]

_ROBERTA: Rules = (
    (r"^lm_head\.layer_norm\.", "head.norm."),
    (r"^lm_head\.(dense|decoder)\.", r"head.\1."),
)
_FROM: dict[str, Rules] = {
    "bert": (
        (r"^cls\.predictions\.transform\.dense\.", "head.dense."),
        (r"^cls\.predictions\.transform\.LayerNorm\.", "head.norm."),
        (r"^cls\.predictions\.decoder\.", "head.decoder."),
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "electra": (
        (r"^generator_predictions\.dense\.", "head.dense."),
        (r"^generator_predictions\.LayerNorm\.", "head.norm."),
        (r"^generator_lm_head\.", "head.decoder."),
    ),
    "albert": (
        (r"^encoder\.embedding_hidden_mapping_in\.", "embeddings_project."),
        (r"^predictions\.LayerNorm\.", "head.norm."),
        (r"^predictions\.(dense|decoder)\.", r"head.\1."),
    ),
}
_TO: dict[str, Rules] = {
    "electra": (
        (r"^head\.dense\.", "generator_predictions.dense."),
        (r"^head\.norm\.", "generator_predictions.LayerNorm."),
        (r"^head\.decoder\.", "generator_lm_head."),
    ),
    "albert": (
        (r"^head\.norm\.", "predictions.LayerNorm."),
        (r"^head\.", "predictions."),
        (r"^embeddings_project\.", "encoder.embedding_hidden_mapping_in."),
        (r"^encoder\.layer\.(\d+)\.", r"encoder.albert_layer_groups.\1.albert_layers.0."),
        (r"\.attention\.self\.", ".attention."),
        (r"\.attention\.output\.", ".attention."),
        (r"\.intermediate\.dense\.", ".ffn."),
        (r"\.output\.dense\.", ".ffn_output."),
        (r"\.output\.LayerNorm\.", ".full_layer_layer_norm."),
        (r"^pooler\.dense\.", "pooler."),
        (r"^classifier\.dense\.", "pooler."),  # RoBERTa's, which is a pooler
        (r"^classifier\.out_proj\.", "classifier."),
    ),
}
SOURCES, HOLDERS = tuple(_FROM), tuple(_TO)
_BODY = ("embeddings", "encoder.", "pooler.")


def plain_names(weights: Mapping[str, Tensor], anatomy: Anatomy) -> dict[str, Tensor]:
    """The weights of a model of `SOURCES` by names without a prefix.

    Args:
        weights: a state dict.
        anatomy: of the model.
    """
    prefix = f"{anatomy.model_class().base_model_prefix}."
    return {
        _renamed(name.removeprefix(prefix), _FROM[anatomy.model_type]): value
        for name, value in weights.items()
        if name not in anatomy.spares
    }


def own_names(
    weights: Mapping[str, Tensor], anatomy: Anatomy, places: Iterable[str]
) -> dict[str, Tensor]:
    """The same weights by the names of a class of `HOLDERS`.

    Args:
        weights: of `plain_names`.
        anatomy: of the class.
        places: names of its state dict; a pooler that it has not is left out.
    """
    wanted, found = set(places), {}
    prefix = f"{anatomy.model_class().base_model_prefix}." if anatomy.has_head else ""
    for name, value in weights.items():
        own = _renamed(name, _TO[anatomy.model_type])
        own = f"{prefix}{own}" if own.startswith(_BODY) else own
        if own in wanted or "pooler." not in own:
            found[own] = value
    spares = {spare: found[other] for spare, other in anatomy.spares.items() if other in found}
    return {**found, **spares}


def _renamed(name: str, rules: Rules) -> str:
    for pattern, other in rules:
        name = re.sub(pattern, other, name)
    return name
