"""A tokenizer with fewer pieces: its tokenizer.json rewritten, every id in it included."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from lit_distill.errors import UserError
from lit_distill.models.vocabularies.closure import closure, supported_parts
from lit_distill.models.vocabularies.vocabulary_map import check_kept

_SETTINGS = (
    *("model_max_length", "padding_side", "truncation_side", "model_input_names"),
    *("clean_up_tokenization_spaces", "split_special_tokens", "chat_template"),
)
"""What a tokenizer is told beside its tokenizer.json and the roles of its special tokens."""


def trim_tokenizer(
    tokenizer: PreTrainedTokenizerFast, kept: tuple[int, ...], rows: int = sys.maxsize
) -> PreTrainedTokenizerFast:
    """A tokenizer that holds these pieces only, whose new ids are their places.

    It is a plain `PreTrainedTokenizerFast` whatever class the old one is, so that everything is in
    its files and no class of Transformers makes the pipeline anew when it is opened.

    Args:
        tokenizer: stays as it is.
        kept: what `closure` gave: ascending and closed.
        rows: what `closure` was given.

    Raises:
        UserError: the kind of vocabulary is not supported, or something is missing from `kept`.
    """
    check_kept(kept, min(rows, max(tokenizer.get_vocab().values()) + 1))
    closed = closure(tokenizer, kept, rows)
    if missing := sorted({*closed} - {*kept}):
        names = tokenizer.convert_ids_to_tokens(missing[:3])
        raise UserError(
            f"A vocabulary cannot do without {len(missing)} pieces that are not kept, such as "
            f"{', '.join(map(repr, names))}: give it the ids that `closure` returns."
        )
    parts, new = supported_parts(tokenizer), {old: place for place, old in enumerate(kept)}
    added = [token for token in parts["added_tokens"] if token["id"] in new]
    added = [{**token, "id": new[token["id"]]} for token in added]
    parts["added_tokens"] = sorted(added, key=lambda token: token["id"])
    parts["post_processor"] = _template(parts["post_processor"], new)
    parts["model"] = _model(parts["model"], new)
    text = json.dumps({"truncation": None, "padding": None, **parts})
    trimmed = wrapped(Tokenizer.from_str(text), tokenizer)
    expected = {token: new[old] for token, old in tokenizer.get_vocab().items() if old in new}
    if trimmed.get_vocab() != expected:
        raise UserError(
            "The ids of this tokenizer have gaps or added tokens in between that a tokenizer.json "
            "cannot hold in a shorter list: its vocabulary cannot be trimmed."
        )
    return trimmed


def _model(model: dict[str, Any], new: Mapping[int, int]) -> dict[str, Any]:
    """The part that cuts words, with fewer pieces."""
    if model["type"] == "Unigram":
        scored = [piece for old, piece in enumerate(model["vocab"]) if old in new]
        unknown = model["unk_id"]
        return {**model, "vocab": scored, "unk_id": None if unknown is None else new[unknown]}
    pieces = {piece: new[old] for piece, old in model["vocab"].items() if old in new}
    if model["type"] == "WordPiece":
        return {**model, "vocab": pieces}
    prefix = len(model.get("continuing_subword_prefix") or "")
    merges = [
        (left, right)
        for left, right in model["merges"]
        if left in pieces and right in pieces and left + right[prefix:] in pieces
    ]
    return {**model, "vocab": pieces, "merges": merges}


def _template(processor: dict[str, Any] | None, new: Mapping[int, int]) -> dict[str, Any] | None:
    """What puts tokens around a text, with their new ids; the kinds of `closure.template_ids`."""
    if processor is None:
        return None
    changed = copy.deepcopy(processor)
    if processor["type"] == "Sequence":
        changed["processors"] = [_template(each, new) for each in processor["processors"]]
    elif processor["type"] == "TemplateProcessing":
        for token in changed["special_tokens"].values():
            token["ids"] = [new[old] for old in token["ids"]]
    else:
        for name in {"sep", "cls"} & processor.keys():
            token, old = processor[name]
            changed[name] = [token, new[old]]
    return changed


def wrapped(backend: Tokenizer, tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """With the roles and the settings of another one."""
    vocabulary = backend.get_vocab()
    settings = {name: getattr(tokenizer, name, None) for name in _SETTINGS}
    named = tokenizer.special_tokens_map.items()
    roles = {role: token for role, token in named if role.endswith("_token")}
    more = [str(token) for token in tokenizer.extra_special_tokens if str(token) in vocabulary]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        extra_special_tokens=more,
        **{name: value for name, value in settings.items() if value is not None},
        **roles,
    )
