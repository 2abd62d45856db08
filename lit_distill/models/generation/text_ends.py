"""Which tokens end a text: found in configs and tokenizers, and written into exported students."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

from lit_distill.errors import UserError
from lit_distill.models.body.language_model import LanguageModel

_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


def ending_ids(
    model: LanguageModel, tokenizer: PreTrainedTokenizerBase | None = None
) -> tuple[int, ...]:
    """All ids that end a text: of the tokenizer, the model's config and its generation config.

    Raises:
        UserError: there is none.
    """
    found = known_endings(model, tokenizer)
    if not found:
        raise UserError(
            "Neither the tokenizer nor the model's config names an EOS token that is in the "
            "vocabulary, so no text would ever end: set eos_token in the tokenizer's "
            "tokenizer_config.json, or eos_token_id in the model's config.json."
        )
    return found


def known_endings(
    model: LanguageModel, tokenizer: PreTrainedTokenizerBase | None = None
) -> tuple[int, ...]:
    """The ids that end a text, as `ending_ids` gives them; none where nothing does."""
    found: set[int] = set()
    for config in (model.model.config, model.model.generation_config, tokenizer):
        ids = None if config is None else config.eos_token_id
        found.update(ids if isinstance(ids, list | tuple) else [] if ids is None else [ids])
    return tuple(sorted(number for number in found if 0 <= number < model.outputs))


def generation_state(model: LanguageModel) -> dict[str, Any] | None:
    """The generation config of a model as plain JSON values; None if it cannot write."""
    if not model.model.can_generate():
        return None
    config = model.model.generation_config or GenerationConfig()
    return {name: value for name, value in config.to_diff_dict().items() if _is_plain(value)}


def restore_generation(
    model: LanguageModel,
    state: Mapping[str, Any] | None,
    endings: Iterable[int],
    pad: int | None = None,
) -> None:
    """Gives a model the generation config that its weights were trained for.

    Args:
        model: whose `generate` is then to stop where texts ended in training.
        state: what `generation_state` gave; None: what its class makes of its config.
        endings: further ids that ended texts.
        pad: id of the padding token, for a model that names none.
    """
    if not model.model.can_generate():
        return
    config = model.model.generation_config or GenerationConfig()
    if state is not None:
        config = GenerationConfig.from_dict(dict(state))
    model.model.generation_config = config
    known = known_endings(model)
    ends = sorted({*known, *(number for number in endings if 0 <= number < model.outputs)})
    if ends:
        config.eos_token_id = ends[0] if len(ends) == 1 else ends
    if config.pad_token_id is None:
        config.pad_token_id = pad
    try:
        config.validate(strict=True)
    except ValueError:  # which saving would raise: settings of sampling that contradict each other
        kept = {name: getattr(config, name) for name in _IDS}
        model.model.generation_config = GenerationConfig(**kept)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, str | int | float | bool)
