"""Which tokens of a vocabulary begin a word, by the tokenizer's own convention."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_distill.errors import UserError

_BYTE_LEVEL_SPACES = ("Ġ", "Ċ", "ĉ", "č")  # space, line feed, tab, return as byte-level writes them


def word_starts(tokenizer: Any) -> NDArray[np.bool_]:
    """For every token id (V,), whether it begins a word.

    The convention is read from the tokenizer's parts: a prefix of continuing pieces (WordPiece),
    a mark before words (Metaspace or its replacement in the decoder: SentencePiece models), or the
    space that byte-level BPE keeps. Punctuation glued to a word has no mark in the latter two and
    belongs to that word.

    Raises:
        UserError: the tokenizer marks words in none of these ways.
    """
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    parts = [*_parts(spec["decoder"]), *_parts(spec["pre_tokenizer"])]
    prefix = spec["model"].get("continuing_subword_prefix")
    marks = _marks(parts)
    if not prefix and not marks:
        raise UserError(
            "whole_word masking needs a tokenizer that marks words (WordPiece, SentencePiece or "
            f"byte-level BPE); this one has a {spec['model'].get('type')} model without marks: set "
            "objective.whole_word to false."
        )
    vocabulary = tokenizer.get_vocab()
    starts = np.zeros(max(vocabulary.values()) + 1, dtype=bool)
    for token, number in vocabulary.items():
        starts[number] = not token.startswith(prefix) if prefix else token.startswith(marks)
    return starts


def _parts(component: dict[str, Any] | None) -> list[dict[str, Any]]:
    """A component of a tokenizer as a list, sequences unrolled."""
    if component is None:
        return []
    if component["type"] == "Sequence":
        inner = component.get("decoders") or component.get("pretokenizers") or []
        return [part for one in inner for part in _parts(one)]
    return [component]


def _marks(parts: list[dict[str, Any]]) -> tuple[str, ...]:
    """What tokens that begin a word start with."""
    for part in parts:
        if part["type"] == "Metaspace":
            return (str(part["replacement"]),)
        if part["type"] == "ByteLevel":
            return _BYTE_LEVEL_SPACES
        if part["type"] == "Replace" and part.get("content") == " ":
            return (str(part["pattern"]["String"]),)
    return ()
