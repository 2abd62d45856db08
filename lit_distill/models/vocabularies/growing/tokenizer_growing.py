"""A tokenizer with more pieces, behind those that it has: its tokenizer.json rewritten."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from lit_distill.errors import UserError
from lit_distill.models.loading.tokenizers import backend_parts
from lit_distill.models.vocabularies.closure import KINDS
from lit_distill.models.vocabularies.growing.new_piece import Growth, NewPiece
from lit_distill.models.vocabularies.tokenizer_trimming import wrapped

MARGIN = 1e-4
"""By how much a Unigram piece is better than its parts, for each token that it saves."""

_UNUSED = re.compile(r"\[.*\]")
"""Pieces such as [unused7], which no text becomes."""


def growable_parts(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The values of its tokenizer.json.

    Raises:
        UserError: pieces cannot be added to this kind of vocabulary.
    """
    parts = backend_parts(tokenizer)
    model, kind = parts["model"], parts["model"].get("type")
    refusal = ""
    if kind not in KINDS:
        refusal = f"it is of the kind {kind}, and those that can grow are {', '.join(KINDS)}"
    elif parts["pre_tokenizer"] is None:
        refusal = "it has no pre-tokenizer, so that a whole text is one word"
    elif kind == "BPE" and '"ByteLevel"' not in json.dumps(
        (parts["normalizer"], parts["pre_tokenizer"])
    ):
        refusal = "its merges are of characters, and only those of bytes can be added to"
    elif model.get("end_of_word_suffix") or (
        kind == "BPE" and model.get("continuing_subword_prefix")
    ):
        refusal = "it marks the ends or insides of words, and merges are not learnt with marks"
    elif model.get("dropout"):
        refusal = "it cuts texts at random (dropout)"
    elif kind == "WordPiece" and (lacking := _dead_ends(model, parts["added_tokens"])):
        refusal = (
            f"{lacking[0]!r} stands inside of its pieces and is none of its own there, so that "
            "behind a longer piece the rest of a word could become unknown"
        )
    if refusal:
        raise UserError(
            f"No pieces can be added to this tokenizer: {refusal}. Use VocabularyTransferStudent "
            "with a tokenizer that was trained on the language (`train-tokenizer`)."
        )
    return parts


def _dead_ends(model: dict[str, Any], added: Sequence[dict[str, Any]]) -> list[str]:
    """Characters that WordPiece can read inside of a word only as a part of something longer."""
    prefix, pieces = model["continuing_subword_prefix"], model["vocab"]
    marks = {token["content"] for token in added}
    words = (piece for piece in pieces if piece not in marks and not _UNUSED.fullmatch(piece))
    inside = {
        character
        for piece in words
        for character in (
            piece.removeprefix(prefix)
            if piece.startswith(prefix) and piece != prefix
            else piece[1:]
        )
    }
    return sorted(character for character in inside if prefix + character not in pieces)


def grow_tokenizer(tokenizer: PreTrainedTokenizerFast, growth: Growth) -> PreTrainedTokenizerFast:
    """A tokenizer that has these pieces too, whose ids follow the largest old one.

    It is a plain `PreTrainedTokenizerFast` whatever class the old one is, as `trim_tokenizer`'s.

    Args:
        tokenizer: stays as it is.
        growth: what `find_pieces` gave.

    Raises:
        UserError: the kind of vocabulary is not supported, or a file cannot hold the ids.
    """
    old = tokenizer.get_vocab()
    first = max(old.values()) + 1
    parts = grown_parts(growable_parts(tokenizer), growth, first)
    text = json.dumps({"truncation": None, "padding": None, **parts})
    grown = wrapped(Tokenizer.from_str(text), tokenizer)
    new = {piece.text: first + place for place, piece in enumerate(growth.pieces)}
    if grown.get_vocab() != {**old, **new}:
        raise UserError(
            "The ids of this tokenizer have gaps that a tokenizer.json with more pieces cannot "
            "hold: its vocabulary cannot grow."
        )
    return grown


def grown_parts(parts: dict[str, Any], growth: Growth, first: int) -> dict[str, Any]:
    """The values of a tokenizer.json with more pieces.

    Added tokens that stood behind the vocabulary become entries of it with the ids that they have:
    a tokenizer.json counts them from the vocabulary's end, so that they would move.

    Args:
        parts: before.
        growth: what to add.
        first: the id of the first new piece.
    """
    model = parts["model"]
    added = sorted((token["id"], token["content"]) for token in parts["added_tokens"])
    texts = [piece.text for piece in growth.pieces]
    if model["type"] == "Unigram":
        lowest = min(score for _, score in model["vocab"])
        behind = [[text, lowest] for number, text in added if number >= len(model["vocab"])]
        new = [
            [text, score] for text, score in zip(texts, scores(parts, growth.pieces), strict=True)
        ]
        return {**parts, "model": {**model, "vocab": [*model["vocab"], *behind, *new]}}
    pieces = {
        **model["vocab"],
        **{text: number for number, text in added},
        **{text: first + place for place, text in enumerate(texts)},
    }
    grown = {**model, "vocab": pieces}
    if model["type"] == "BPE":
        grown["merges"] = [*model["merges"], *growth.merges]
    return {**parts, "model": grown}


def scores(parts: dict[str, Any], pieces: Sequence[NewPiece]) -> list[float]:
    """The scores of new pieces in a Unigram vocabulary.

    A piece gets the score of the path that it replaces, the sum of its parts', and `MARGIN` for
    each token that it saves: it wins against its parts, and of several new pieces those win that
    save most. None is below the lowest old score, from which a Unigram model counts the cost of an
    unknown character: that stays what it was.

    Args:
        parts: of the old tokenizer.json.
        pieces: new ones.
    """
    old = [float(score) for _, score in parts["model"]["vocab"]]
    lowest = min(old)
    return [
        max(sum(old[part] for part in piece.parts), lowest) + MARGIN * piece.saved
        for piece in pieces
    ]
