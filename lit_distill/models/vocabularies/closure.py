"""What a trimmed vocabulary has to hold so that its tokenizer still works as it did.

With a closed selection, a text that was cut into kept pieces alone is cut into the same ones, for
all three kinds of vocabulary; `closure` says by what.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lit_distill.errors import UserError
from lit_distill.models.loading.tokenizers import backend_parts
from lit_distill.models.vocabularies.merges import Merges

KINDS = ("WordPiece", "Unigram", "BPE")
"""Models of tokenizers whose vocabulary can be trimmed."""


def closure(
    tokenizer: PreTrainedTokenizerFast, ids: Iterable[int], rows: int = sys.maxsize
) -> tuple[int, ...]:
    """The ids that have to stay if these do, ascending, these included.

    - Special and added tokens, those that a template of texts or a role names, and the unknown one.
    - The byte alphabet of byte-level vocabularies, and the pieces of bytes (`<0x0A>`) where unknown
      characters become such.
    - The characters that kept pieces are written with, where they are pieces, so that a text in
      such characters never becomes unknown; in WordPiece at a word's start and inside (`##`). Other
      characters are kept only if they are asked for.
    - BPE: every piece that a kept one is merged from.
    - Unigram: the piece of the lowest score, from which the cost of an unknown character is told.

    Why texts of kept pieces are then cut as they were: WordPiece takes the longest piece at each
    place, and a kept one stays longer than whatever is left; Unigram takes the best path, and one
    that is best among all is best among fewer; BPE does the same merges in the same order, for all
    those that the text needs are there, and no other comes before them that did not before.

    Args:
        tokenizer: before it is trimmed.
        ids: what was selected.
        rows: of the model: added tokens beyond them, which it cannot read, are left out.

    Raises:
        UserError: the kind of vocabulary is not supported, or an id is none of the tokenizer's.
    """
    parts = supported_parts(tokenizer)
    numbers = tokenizer.get_vocab()
    tokens = {number: token for token, number in numbers.items()}
    kept = {*ids}
    if strangers := sorted(kept - tokens.keys()):
        raise UserError(
            f"{len(strangers)} of the ids to keep are no token of the tokenizer, such as "
            f"{strangers[0]}: take ids that it gives to texts."
        )
    always = _always(tokenizer, parts, numbers)
    kept |= always
    if parts["model"]["type"] == "BPE":
        merges = Merges(parts["model"])
        kept |= {part for number in kept for part in merges.made_through(number)}
    else:
        added = {token["id"] for token in parts["added_tokens"]}
        prefix = parts["model"].get("continuing_subword_prefix") or ""
        letters = {c for number in kept - added for c in tokens[number].removeprefix(prefix)}
        spellings = {form for letter in letters for form in (letter, prefix + letter)}
        kept |= {numbers[form] for form in spellings if form in numbers}
    return tuple(sorted(number for number in kept if number < rows))


def supported_parts(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The values of its tokenizer.json.

    Raises:
        UserError: its kind of vocabulary is not supported.
    """
    parts = backend_parts(tokenizer)
    kind = parts["model"].get("type")
    if kind not in KINDS:
        raise UserError(
            f"A vocabulary of the kind {kind} cannot be trimmed: those that can are "
            f"{', '.join(KINDS)}."
        )
    return parts


def _always(
    tokenizer: PreTrainedTokenizerFast, parts: dict[str, Any], numbers: dict[str, int]
) -> set[int]:
    """Ids that stay whatever is selected."""
    model = parts["model"]
    kept = {token["id"] for token in parts["added_tokens"]} | {*tokenizer.all_special_ids}
    kept |= set(template_ids(parts["post_processor"]))
    pieces = [model["unk_token"]] if model.get("unk_token") else []
    if model.get("byte_fallback"):
        pieces += [f"<0x{byte:02X}>" for byte in range(256)]
    if '"ByteLevel"' in json.dumps((parts["normalizer"], parts["pre_tokenizer"])):
        pieces += pre_tokenizers.ByteLevel.alphabet()
    kept |= {numbers[piece] for piece in pieces if piece in numbers}
    if model["type"] == "Unigram":
        scores = [score for _, score in model["vocab"]]
        lowest = model["vocab"][scores.index(min(scores))][0]
        kept |= {numbers[lowest]}
        kept |= {model["unk_id"]} if model["unk_id"] is not None else set()
    return kept


def template_ids(processor: dict[str, Any] | None) -> list[int]:
    """The ids that a template of texts puts around them, of any kind of template."""
    if processor is None:
        return []
    if processor["type"] == "Sequence":
        return [number for each in processor["processors"] for number in template_ids(each)]
    if processor["type"] == "TemplateProcessing":
        return [number for token in processor["special_tokens"].values() for number in token["ids"]]
    return [processor[name][1] for name in ("sep", "cls") if name in processor]
