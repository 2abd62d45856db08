"""What a trimmed vocabulary has to hold so that its tokenizer still works as it did.

With a closed selection, a text that was cut into kept pieces alone is cut into the same ones, for
all three kinds of vocabulary; `Closing` says by what.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Container, Iterable
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
    """The ids that have to stay if these do, ascending, these included; see `Closing`.

    Args:
        tokenizer: before it is trimmed.
        ids: what was selected.
        rows: of the model: added tokens beyond them, which it cannot read, are left out.

    Raises:
        UserError: the kind of vocabulary is not supported, or an id is none of the tokenizer's.
    """
    return Closing(tokenizer, rows).of(ids)


class Closing:
    """What a selection of pieces needs beside itself.

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
        rows: of the model: added tokens beyond them, which it cannot read, are left out.
        also: ids that have to stay for another reason.

    Attributes:
        always: ids that stay whatever is selected, not yet closed.

    Raises:
        UserError: the kind of vocabulary is not supported.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        rows: int = sys.maxsize,
        also: Iterable[int] = (),
    ) -> None:
        parts = supported_parts(tokenizer)
        self._rows, self._numbers = rows, tokenizer.get_vocab()
        self._tokens = {number: token for token, number in self._numbers.items()}
        self._added = {token["id"] for token in parts["added_tokens"]}
        self._prefix: str = parts["model"].get("continuing_subword_prefix") or ""
        self._merges = Merges(parts["model"]) if parts["model"]["type"] == "BPE" else None
        self.always = _always(tokenizer, parts, self._numbers) | {*also}

    def of(self, ids: Iterable[int]) -> tuple[int, ...]:
        """These ids and all that has to stay, ascending.

        Raises:
            UserError: an id is none of the tokenizer's.
        """
        kept = {*ids} | self.always
        if strangers := sorted(kept - self._tokens.keys()):
            raise UserError(
                f"{len(strangers)} of the ids to keep are no token of the tokenizer, such as "
                f"{strangers[0]}: take ids that it gives to texts."
            )
        for number in tuple(kept):
            kept |= self.needs(number)
        return tuple(sorted(number for number in kept if number < self._rows))

    def needs(self, piece: int) -> set[int]:
        """What one piece needs beside what stays always; a need needs nothing more."""
        if piece in self._added:
            return set()
        if self._merges is not None:
            return self._merges.made_through(piece)
        return self.numbers_of(self.spelt(piece))

    def spelt(self, piece: int) -> list[str]:
        """The characters, or bytes, that a piece is written with, as the vocabulary has them."""
        if self._merges is not None:
            return [self._tokens[number] for number in self._merges.characters(piece)]
        return list(self._tokens[piece].removeprefix(self._prefix))

    def length(self, piece: int, kept: Container[int]) -> int:
        """How many kept pieces a text gets instead of one that is not kept.

        Of BPE, what its merges give; of others the fewest that spell it. A character that is not
        kept counts as one.

        Args:
            piece: an id.
            kept: ids.
        """
        if self._merges is not None:
            return len(self._merges.merged(piece, kept)[0])
        text = self._tokens[piece]
        bare = text.removeprefix(self._prefix)
        inside = bool(self._prefix) and bare != text
        fewest = [0] * (len(bare) + 1)
        for end in range(1, len(bare) + 1):
            fewest[end] = fewest[end - 1] + 1
            for start in range(end - 1):
                if fewest[start] + 1 < fewest[end]:
                    front = self._prefix if inside or start else ""
                    if self._numbers.get(front + bare[start:end]) in kept:
                        fewest[end] = fewest[start] + 1
        return fewest[-1]

    def numbers_of(self, characters: Iterable[str]) -> set[int]:
        """The pieces that are these characters alone."""
        forms = {form for each in characters for form in (each, self._prefix + each)}
        return {self._numbers[form] for form in forms if form in self._numbers}


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
