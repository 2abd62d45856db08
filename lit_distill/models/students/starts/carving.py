"""Some layers of a teacher, with its embeddings and head, as a student's config and weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import PretrainedConfig

from lit_distill.errors import UserError
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.students.starts.layer_rules import pick_layers, respect_kinds


def pick_layers_of(teacher: LanguageModel, choice: str | list[int], keep: int | None) -> list[int]:
    """Numbers (from 0) of a teacher's layers to keep; see `pick_layers` and `respect_kinds`.

    Raises:
        UserError: the choice does not fit the teacher.
    """
    picked = pick_layers(choice, keep, len(teacher.layers))
    kinds = teacher.config.to_dict().get("layer_types")
    return respect_kinds(choice, picked, kinds) if kinds else picked


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
    if anatomy.layer_order is not None:  # ALBERT
        values["num_hidden_groups"] = len(_kept_groups(teacher, picked))
    if anatomy.encoder_layer_count is not None and encoder is not None:
        values[anatomy.encoder_layer_count] = len(encoder)
    if values.get("layer_types"):
        values["layer_types"] = [values["layer_types"][number] for number in picked]
    return type(config).from_dict(values)


def carve_layers(
    teacher: LanguageModel, picked: list[int], encoder: list[int] | None = None
) -> dict[str, Tensor]:
    """The teacher's weights (not copies) with only the picked layers, numbered anew."""
    if teacher.anatomy.layer_order is not None:
        picked = _kept_groups(teacher, picked)
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


def _kept_groups(teacher: LanguageModel, picked: list[int]) -> list[int]:
    """The groups of layers that picked depths of an ALBERT need, in their order.

    Raises:
        UserError: fewer depths would not run them in this order, which follows from their number.
    """
    config, order = copy.deepcopy(teacher.config), teacher.anatomy.layer_numbers(teacher.model)
    wanted = [order[number] for number in picked]
    kept = list(dict.fromkeys(wanted))
    config.num_hidden_layers, config.num_hidden_groups = len(picked), len(kept)
    numbers = [] if teacher.anatomy.layer_order is None else teacher.anatomy.layer_order(config)
    if wanted != [kept[number] for number in numbers]:
        raise UserError(
            f"layers={picked}: they are of the groups {wanted} of the teacher's "
            f"{teacher.config.num_hidden_groups}, and an ALBERT shares each group among neighbours "
            "as evenly as can be: choose as many layers of each group, or another number of them."
        )
    return kept


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
