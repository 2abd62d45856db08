"""Token ids that the configs of a model name: padding, ends of texts, words never to be written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel

from lit_distill.errors import UserError

_NAMES = re.compile(
    r".*_token_ids?|.*_token_index|suppress_tokens|begin_suppress_tokens|bad_words_ids"
    r"|force_words_ids|forced_decoder_ids|sequence_bias"
)
"""Settings whose whole numbers are token ids; of the last two, some of them."""


def ids_in_configs(model: PreTrainedModel, size: int) -> set[int]:
    """The ids that the config and the generation config of a model name, nested ones included.

    Args:
        model: its values stay.
        size: rows of its vocabulary; an id beyond them, or below 0, stands for no token.
    """
    found: set[int] = set()

    def note(name: str, number: int) -> int:
        del name
        if 0 <= number < size:
            found.add(number)
        return number

    for config, name, value in _settings(model):
        _mapped(name, value, note, type(config).__name__)
    return found


def renumber_configs(model: PreTrainedModel, new: Mapping[int, int], size: int) -> None:
    """Puts new ids into the config and the generation config of a model.

    Args:
        model: its configs are changed.
        new: the new id of each old one.
        size: rows before; an id beyond them, or below 0, stands for no token and stays.

    Raises:
        UserError: an id is dropped; nothing is changed then.
    """

    def renumbered(name: str, number: int) -> int:
        if not 0 <= number < size:
            return number
        if number not in new:
            raise UserError(
                f"{name} is {number}, a token that is not kept: keep it, or set another one in the "
                "model's config."
            )
        return new[number]

    changes = [
        (config, name, _mapped(name, value, renumbered, type(config).__name__))
        for config, name, value in _settings(model)
    ]
    for config, name, value in changes:
        setattr(config, name, value)


def _settings(model: PreTrainedModel) -> list[tuple[Any, str, Any]]:
    """Every setting that may hold ids, with the config that it is in."""
    configs: dict[int, PretrainedConfig | GenerationConfig] = {}
    waiting: list[Any] = [model.config, getattr(model, "generation_config", None)]
    waiting += [getattr(module, "config", None) for module in model.modules()]
    while waiting:
        config = waiting.pop()
        if isinstance(config, PretrainedConfig | GenerationConfig) and id(config) not in configs:
            configs[id(config)] = config
            waiting += vars(config).values()
    return [
        (config, name, value)
        for config in configs.values()
        for name, value in vars(config).items()
        if value is not None and (_NAMES.fullmatch(name) or isinstance(value, dict))
    ]


def _mapped(name: str, value: Any, each: Callable[[str, int], int], owner: str) -> Any:
    """A setting with every id in it replaced; numbers that are no ids stay."""
    if isinstance(value, dict) and name != "sequence_bias":
        return {
            key: _mapped(key, inner, each, f"{owner}.{name}")
            if isinstance(key, str) and (_NAMES.fullmatch(key) or isinstance(inner, dict))
            else inner
            for key, inner in value.items()
        }
    title = f"{owner}.{name}"
    if name == "forced_decoder_ids":
        return [[place, _inside(title, number, each)] for place, number in value]
    if name == "sequence_bias":
        pairs = value.items() if isinstance(value, dict) else value
        biases = [(_inside(title, ids, each), bias) for ids, bias in pairs]
        return dict(biases) if isinstance(value, dict) else [[ids, bias] for ids, bias in biases]
    return _inside(title, value, each)


def _inside(title: str, value: Any, each: Callable[[str, int], int]) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | list | tuple):
        return value
    if isinstance(value, int):
        return each(title, value)
    return type(value)(_inside(title, inner, each) for inner in value)
