"""Which tables a model shares, by its parameters and not by its config.

A config says that embeddings and head are one table; a file may hold two all the same (T5 v1.1,
mT5, a merged adapter), and `from_pretrained` then keeps both. Whatever builds a model from a config
alone has to be told, or both are loaded into one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from lit_distill.models.architectures.anatomy import Anatomy


def separate_names(model: PreTrainedModel) -> list[str]:
    """Names of parameters that the model's config ties to others, and that are their own here."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return [
        target
        for target, source in _tied(model).items()
        if parameters[target] is not parameters[source]
    ]


def differing_names(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> list[str]:
    """Names of parameters that the model's config ties to others, of other values in `weights`.

    Args:
        model: whose config and names.
        weights: a state dict; a name that it lacks ties nothing apart.
    """
    return [
        target
        for target, source in _tied(model).items()
        if target in weights and source in weights and not _same(weights[target], weights[source])
    ]


def keep_apart(model: PreTrainedModel, names: Iterable[str]) -> None:
    """Gives parameters a table of their own, of the values they have; others stay shared."""
    for name in names:
        path, _, leaf = name.rpartition(".")
        shared = model.get_parameter(name)
        own = nn.Parameter(shared.detach().clone(), requires_grad=shared.requires_grad)
        setattr(model.get_submodule(path), leaf, own)
        model.all_tied_weights_keys.pop(name, None)  # what Transformers believes to be shared


def has_own_head(model: PreTrainedModel, anatomy: Anatomy) -> bool:
    """Whether a model's head is another table than its config says."""
    return anatomy.has_head and f"{anatomy.lm_head_path}.weight" in separate_names(model)


def draw_own_head(model: PreTrainedModel, anatomy: Anatomy) -> None:
    """Draws a random table for the head where the model's class has tied it all the same."""
    name = f"{anatomy.lm_head_path}.weight"
    if name in _tied(model) and name not in separate_names(model):
        keep_apart(model, [name])
        head = model.get_parameter(name)
        nn.init.normal_(head, std=float(head.detach().std()))


def forces_ties(config: PretrainedConfig) -> bool:
    """Whether the config's class ties embeddings and head whatever its file says (T5, mT5)."""
    told = type(config).from_dict({**config.to_dict(), "tie_word_embeddings": False})
    return bool(told.tie_word_embeddings)


def declare_separate(model: PreTrainedModel) -> None:
    """Makes config and saved file of a model with a head of its own say so.

    A config that still says tied would make some versions of Transformers drop the head. One that
    says separate means every table that it could have tied (encoders' embeddings, BERT's bias), so
    that each of them has to be in the file.

    Args:
        model: changed, if it has parameters of `separate_names`; its values stay.
    """
    apart = separate_names(model)
    if not apart:
        return
    if not forces_ties(model.config):
        keep_apart(model, [name for name in _tied(model) if name not in apart])
    model.config = copy.deepcopy(model.config)
    model.config.tie_word_embeddings = False


def _tied(model: PreTrainedModel) -> dict[str, str]:
    """The name that each tied parameter takes its values from, as the config has it."""
    return dict(model.get_expanded_tied_weights_keys(all_submodels=True))


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and (
        one.data_ptr() == other.data_ptr() or torch.equal(one, other)
    )
