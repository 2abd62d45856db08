"""Copies layers of a teacher into a smaller student's weights.

DistilBERT's layer choice and what it copies: huggingface transformers-research-projects@fccd0cd,
distillation/scripts/extract_distilbert.py. Two differences, both on purpose: the head's transform
is always copied; and token type 0, which DistilBERT lacks, is added to its position table instead
of being dropped (dropping it shifts every embedding by a constant vector).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from logging import getLogger
from typing import Any

import torch
from torch import Tensor
from transformers import DistilBertConfig, PretrainedConfig

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Predicted
from lit_distill.models.body.language_model import LanguageModel

_log = getLogger(__name__)

DISTILBERT_LAYERS = [0, 2, 4, 7, 9, 11]
"""Of 12, from 0."""

_DISTILBERT_EPS = 1e-12  # a constant in DistilBERT's code, not in its config

_DISTILBERT_NAMES = (  # of a BERT with a head; those of its body alone lack the first part
    (r"^bert\.embeddings\.", "distilbert.embeddings."),
    (r"^bert\.encoder\.", "distilbert.transformer."),
    (r"^encoder\.", "transformer."),
    (r"\.attention\.self\.query\.", ".attention.q_lin."),
    (r"\.attention\.self\.key\.", ".attention.k_lin."),
    (r"\.attention\.self\.value\.", ".attention.v_lin."),
    (r"\.attention\.output\.dense\.", ".attention.out_lin."),
    (r"\.attention\.output\.LayerNorm\.", ".sa_layer_norm."),
    (r"\.intermediate\.dense\.", ".ffn.lin1."),
    (r"(layer\.\d+)\.output\.dense\.", r"\1.ffn.lin2."),
    (r"(layer\.\d+)\.output\.LayerNorm\.", r"\1.output_layer_norm."),
    (r"^cls\.predictions\.transform\.dense\.", "vocab_transform."),
    (r"^cls\.predictions\.transform\.LayerNorm\.", "vocab_layer_norm."),
    (r"^cls\.predictions\.decoder\.", "vocab_projector."),
)


def pick_layers(choice: str | list[int], keep: int | None, count: int) -> list[int]:
    """Numbers (from 0) of the teacher layers that a student keeps; see `LayerCopyStudent`.

    Args:
        choice: the rule, or the numbers themselves.
        keep: how many; None is half of them, rounded down, and at least one.
        count: how many the teacher has.

    Raises:
        UserError: the choice does not fit the teacher.
    """
    if isinstance(choice, list):
        return _explicit(choice, keep, count)
    if choice == "distilbert":
        if count != 12 or keep not in (None, 6):
            raise UserError(
                f"layers='distilbert' is 6 chosen layers of 12 ({DISTILBERT_LAYERS}); the teacher "
                f"has {count} and {keep or count // 2} are wanted: use layers='every_other'."
            )
        return DISTILBERT_LAYERS
    keep = max(count // 2, 1) if keep is None else keep
    if not 1 <= keep <= count:
        raise UserError(f"num_layers={keep}: the teacher has {count} layers; keep 1 to {count}.")
    if choice == "first":
        return list(range(keep))
    if choice == "last":
        return list(range(count - keep, count))
    if choice == "every_other":
        return [i * count // keep for i in range(keep)]
    raise UserError(
        f"layers={choice!r}: choose every_other, first, last, distilbert or a list of numbers."
    )


def respect_kinds(choice: str | list[int], picked: list[int], kinds: Sequence[str]) -> list[int]:
    """Numbers of the layers to keep of a teacher whose layers attend in several ways.

    Gemma 2 looks at all positions in every second layer and Gemma 3 in every sixth: a plain
    every_other would keep none of them. Where a plain choice gives a kind less or more than its
    share, or none, every kind is thinned out by itself. Other choices are kept, and what they lose
    is said.

    Args:
        choice: as for `pick_layers`.
        picked: what that found.
        kinds: of all layers of the teacher, in order.
    """
    keep, count = len(picked), len(kinds)
    found = {kind: [i for i in range(count) if kinds[i] == kind] for kind in dict.fromkeys(kinds)}
    wanted = {kind: len(numbers) * keep / count for kind, numbers in found.items()}
    kept = {kind: sum(kinds[i] == kind for i in picked) for kind in found}
    even = all(abs(kept[kind] - wanted[kind]) < 1 for kind in found) and min(kept.values()) > 0
    if choice == "every_other" and not even and keep >= len(found):
        sizes = _shares(wanted, keep)
        return sorted(
            numbers[i * len(numbers) // sizes[kind]]
            for kind, numbers in found.items()
            for i in range(sizes[kind])
        )
    for kind, numbers in found.items():
        if not kept[kind]:
            _log.warning(
                "The student keeps none of the teacher's %d layers of %s (%s), only %s: list "
                "layers of both kinds in `layers` if it should have some.",
                *(len(numbers), kind, ", ".join(map(str, numbers)), picked),
            )
    return picked


def _shares(wanted: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers of sum `total`, at least 1 each: the largest remainders are rounded up.

    Of equal ones, that of the rarer kind.
    """
    sizes = {kind: max(int(share), 1) for kind, share in wanted.items()}
    while (missing := total - sum(sizes.values())) != 0:
        step = 1 if missing > 0 else -1
        movable = [kind for kind in sizes if step > 0 or sizes[kind] > 1]
        chosen = max(movable, key=lambda kind: (step * (wanted[kind] - sizes[kind]), -wanted[kind]))
        sizes[chosen] += step
    return sizes


def _explicit(choice: list[int], keep: int | None, count: int) -> list[int]:
    outside = [i for i in choice if not 0 <= i < count]
    twice = sorted({i for i in choice if choice.count(i) > 1})
    if outside:
        raise UserError(
            f"layers={choice}: {outside} do not exist; the teacher's {count} layers are numbered "
            f"0 to {count - 1}."
        )
    if twice:
        raise UserError(f"layers={choice}: {twice} appear more than once; name each layer once.")
    if not choice:
        raise UserError("layers=[]: a student needs at least one layer.")
    if keep not in (None, len(choice)):
        raise UserError(
            f"layers={choice} names {len(choice)} layers and num_layers is {keep}: leave "
            "num_layers out."
        )
    return list(choice)


def carve_config(
    teacher: LanguageModel, picked: list[int], encoder: list[int] | None = None
) -> PretrainedConfig:
    """The teacher's config with only the picked layers; each keeps its kind of attention.

    Args:
        teacher: whose.
        picked: its layers; of an encoder-decoder, the decoder's.
        encoder: the encoder's, of an encoder-decoder.

    Raises:
        UserError: one of them computes something else at another place.
    """
    config, anatomy = copy.deepcopy(teacher.config), teacher.anatomy
    values = config.to_dict()
    if values["model_type"] == "modernbert" and picked[0] != 0:
        raise UserError(
            f"layers={picked}: ModernBERT's layer 0 alone has no norm before its attention, so it "
            "must come first in the student as well: choose a list that starts with 0."
        )
    if values.get("scale_attn_by_inverse_layer_idx") and picked != list(range(len(picked))):
        raise UserError(
            f"layers={picked}: this model divides attention by the number of the layer "
            "(scale_attn_by_inverse_layer_idx), so only layers='first' keeps what layers compute."
        )
    values |= {anatomy.layer_count: len(picked), "_name_or_path": ""}  # it is the teacher's
    if anatomy.encoder_layer_count is not None and encoder is not None:
        values[anatomy.encoder_layer_count] = len(encoder)
    if values.get("layer_types"):
        values["layer_types"] = [values["layer_types"][number] for number in picked]
    return type(config).from_dict(values)


def carve_layers(
    teacher: LanguageModel, picked: list[int], encoder: list[int] | None = None
) -> dict[str, Tensor]:
    """The teacher's weights (not copies) with only the picked layers, numbered anew."""
    stacks = {teacher.anatomy.layers_path: picked}
    if teacher.anatomy.encoder_layers_path is not None and encoder is not None:
        stacks[teacher.anatomy.encoder_layers_path] = encoder
    weights = {}
    for name, tensor in teacher.model.state_dict().items():
        for path, kept in stacks.items():
            if name.startswith(f"{path}."):
                name = _renumbered(name, path, kept)
                break
        if name:
            weights[name] = tensor.detach()
    return weights


def with_head_of(model: LanguageModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a body, named as in a class with a head, beside the head of a fresh model.

    What that class has no place for, a pooler, is left out.

    Args:
        model: of that class.
        weights: of the body alone, as `carve_layers` gives them.

    Raises:
        UserError: the class has no place for anything else.
    """
    own: dict[str, Tensor] = dict(model.model.state_dict())
    named = {f"{model.model.base_model_prefix}.{name}": value for name, value in weights.items()}
    lost = [name for name in named if name not in own and "pooler" not in name]
    if lost:  # what stands in its place would begin at random
        raise UserError(
            f"fresh_head: a {type(model.model).__name__} has no place for {lost[0]}, so the body "
            "would not be the teacher's: give a teacher with a head."
        )
    place = {own[name].data_ptr(): value for name, value in named.items() if name in own}
    return {name: place.get(value.data_ptr(), value) for name, value in own.items()}  # ties, too


def _renumbered(name: str, path: str, kept: list[int]) -> str:
    """The student's name of a layer's weight; empty if the layer is not kept."""
    number, _, rest = name.removeprefix(f"{path}.").partition(".")
    if rest.endswith("relative_attention_bias.weight"):  # T5's first layer holds it for all
        return f"{path}.0.{rest}"
    return f"{path}.{kept.index(int(number))}.{rest}" if int(number) in kept else ""


def labels_of(config: PretrainedConfig) -> dict[str, Any]:
    """What the config of a model with a task says about its outputs, by key."""
    names = ("id2label", "label2id", "problem_type")
    return {name: copy.deepcopy(getattr(config, name)) for name in names}


def distilbert_config(teacher: LanguageModel, num_layers: int) -> DistilBertConfig:
    """The DistilBERT config in which a BERT's layers compute what they did.

    Raises:
        UserError: the teacher is not a BERT, reads texts by their first token, or normalises with
            another epsilon.
    """
    bert = teacher.config
    if teacher.anatomy.predicts in (Predicted.TEXT_LABELS, Predicted.TEXT_VALUE, Predicted.CHOICES):
        raise UserError(
            "distilbert=true: a BERT's classifier of texts has a tanh where DistilBERT's has a "
            "ReLU, so its head would compute something else. Leave it out, or carve the language "
            "model to a DistilBERT and start from that with PretrainedStudent's labels or head."
        )
    if bert.model_type != "bert":
        raise UserError(
            f"distilbert=true turns a BERT into a DistilBERT; the teacher is a {bert.model_type}: "
            "leave it out to keep the teacher's own class."
        )
    if bert.layer_norm_eps != _DISTILBERT_EPS:
        raise UserError(
            f"DistilBERT normalises with epsilon {_DISTILBERT_EPS} and the teacher with "
            f"{bert.layer_norm_eps}, so its layers would compute something else: leave "
            "distilbert=true out."
        )
    return DistilBertConfig(
        vocab_size=bert.vocab_size,
        max_position_embeddings=bert.max_position_embeddings,
        n_layers=num_layers,
        n_heads=bert.num_attention_heads,
        dim=bert.hidden_size,
        hidden_dim=bert.intermediate_size,
        dropout=bert.hidden_dropout_prob,
        attention_dropout=bert.attention_probs_dropout_prob,
        activation=bert.hidden_act,
        initializer_range=bert.initializer_range,
        pad_token_id=bert.pad_token_id,
        tie_word_embeddings=bert.tie_word_embeddings,
        **(labels_of(bert) if teacher.anatomy.has_task else {}),
    )


def distilbert_weights(bert: dict[str, Tensor]) -> dict[str, Tensor]:
    """DistilBERT's names for a BERT's weights, token type 0 folded into the positions."""
    (types,) = (table for name, table in bert.items() if "token_type_embeddings" in name)
    weights = {}
    for name, tensor in bert.items():
        if "token_type_embeddings" in name or name == "cls.predictions.bias":
            continue  # the latter is tied to the decoder's bias
        if name.startswith("pooler."):
            continue
        if name.endswith("embeddings.position_embeddings.weight"):
            wide = torch.promote_types(tensor.dtype, torch.float32)  # a bf16 sum would be rounded
            tensor = tensor.to(wide) + types[0].to(wide)
        for pattern, replacement in _DISTILBERT_NAMES:
            name = re.sub(pattern, replacement, name)
        weights[name] = tensor
    return weights
