"""The model that is trimmed, with its tokenizer: opened, and found to belong together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lit_distill.errors import UserError
from lit_distill.models import (
    LanguageModel,
    check_model_vocabulary,
    load_tokenizer,
    read_otherwise,
)
from lit_distill.models.loading.pretrained import config_of, locate, open_model
from lit_distill.models.vocabularies.closure import supported_parts
from lit_distill.models.vocabularies.token_ids import ids_in_configs

_SPARE_ROWS, _SPARE_SHARE = 1024, 0.05
"""More rows than these without a token, and the tokenizer is not the model's."""


@dataclass(frozen=True)
class Subject:
    """A model to trim.

    Attributes:
        name: as the user gave it.
        model: in float32 and eval mode, with its head if it has one.
        tokenizer: its own.
        dtype: in which its weights were saved.
        rows: of its vocabulary.
        named: ids in its configs.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    dtype: torch.dtype
    rows: int
    named: set[int]


def tokenizer_of(
    name: str,
    revision: str | None,
    tokenizer: str | None,
    check: Callable[[PreTrainedTokenizerFast], object] = supported_parts,
) -> PreTrainedTokenizerFast:
    """The tokenizer of a model, whose vocabulary can be changed.

    Args:
        name: of the model.
        revision: of the model on the hub.
        tokenizer: where it is, if not beside the model.
        check: raises an error if its kind of vocabulary is not supported.

    Raises:
        UserError: it cannot be found, its kind is not supported, or the model's own is another.
    """
    found = load_tokenizer(name, revision) if tokenizer is None else load_tokenizer(tokenizer)
    check(found)
    if tokenizer is None:
        return found
    try:
        own = load_tokenizer(name, revision)
    except UserError:  # none is beside the model, which is why one was given
        return found
    if difference := read_otherwise(found, own):
        raise UserError(
            f"The tokenizer {tokenizer} is not that of {name}, which has one of its own: "
            f"{difference}. Leave --tokenizer out."
        )
    return found


def opened(name: str, revision: str | None, tokenizer: PreTrainedTokenizerFast) -> Subject:
    """Opens a model and compares it with its tokenizer.

    Args:
        name: local folder or hub name.
        revision: on the hub.
        tokenizer: what `tokenizer_of` gave.

    Raises:
        UserError: the model cannot be opened, or the tokenizer is not its own.
    """
    model = open_model(name, revision, torch.float32, needs_head=False)
    language_model = LanguageModel(model)
    check_model_vocabulary(language_model, tokenizer, "model")
    rows, tokens = language_model.vocab_size, max(tokenizer.get_vocab().values()) + 1
    if rows - tokens > max(_SPARE_ROWS, _SPARE_SHARE * rows):
        raise UserError(
            f"{name} has {rows:,} rows and the tokenizer {tokens:,} tokens: it is not the one that "
            "the model was trained with. Give that one (--tokenizer)."
        )
    named = ids_in_configs(model, rows)
    if unknown := sorted(named - {*tokenizer.get_vocab().values()}):
        raise UserError(
            f"The config of {name} names the id {unknown[0]}, which is no token of the tokenizer: "
            "give the model's own (--tokenizer), or correct config.json or generation_config.json."
        )
    return Subject(name, model, tokenizer, _dtype(name, revision), rows, named)


def _dtype(name: str, revision: str | None) -> torch.dtype:
    """In which the weights are saved, as the config says; float32 where it does not."""
    if (Path(name).expanduser() / "adapter_config.json").exists():
        return torch.float32
    values = config_of(locate(name, revision))
    said = values.get("dtype") or values.get("torch_dtype")
    found = getattr(torch, said, None) if isinstance(said, str) else None
    return found if isinstance(found, torch.dtype) else torch.float32
