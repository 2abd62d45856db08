"""A model's config with other numbers: what follows from a change, and what cannot work."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from transformers import PretrainedConfig

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Anatomy
from lit_distill.models.students.starts.layer_rules import pick_layers, respect_kinds


def override_config(
    config: PretrainedConfig, changes: dict[str, Any], anatomy: Anatomy
) -> PretrainedConfig:
    """A new config with `changes`; the feed-forward width follows the hidden size.

    Raises:
        UserError: an unknown key, a value of the wrong type, or a hidden size that the number of
            heads does not divide.
    """
    values = {**config.to_dict(), "_name_or_path": ""}  # whose weights it does not get
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
        followers["layer_types"] = _kinds_of(count, kinds) if count <= len(kinds) else None
    shape = ("hidden_size", "num_attention_heads")
    if old.get("head_dim") and old["head_dim"] * old[shape[1]] == old[shape[0]]:
        followers["head_dim"] = new[shape[0]] // max(new[shape[1]], 1)
    return followers


def _kinds_of(count: int, kinds: list[str]) -> list[str]:
    """The first of the kinds of attention, or kinds all along the stack where one would be lost."""
    first = kinds[:count]
    if count < 1 or set(first) == set(kinds):
        return first
    plain = pick_layers("every_other", count, len(kinds))
    return [kinds[number] for number in respect_kinds("every_other", plain, kinds)]


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
