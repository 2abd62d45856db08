"""Texts with a place for a word, and how likely models find words there.

A word is asked for in its text: the filled text is cut into tokens, and those that the word has
there are hidden, so that spaces and accents belong to it as they do where the model was trained. Of
a decoder, the likelihood is that of the word and of all that follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from tokenizers import Encoding

from lit_distill.errors import UserError
from lit_distill.measures.probing.asked import Asked
from lit_distill.measures.probing.guesses import Floats, Guess, log_probabilities

MASK = "[MASK]"
"""The place of the word in a template, whatever a tokenizer calls its mask."""
SPACE = "▁"
"""A token of its own in some vocabularies: the space before a word, which belongs to it."""

Pieces = Literal["refuse", "multiply"]
"""What becomes of words of several tokens in masked models. "multiply": each token is guessed with
those before it filled in and those behind it hidden, and their probabilities are multiplied."""


@dataclass(frozen=True)
class Blank:
    """A text with a place for a word.

    Attributes:
        before: the text up to the word.
        after: the text behind it.
    """

    before: str
    after: str

    @classmethod
    def of(cls, template: str) -> Blank:
        """A template, cut at its [MASK].

        Raises:
            UserError: it has none, or several.
        """
        parts = template.split(MASK)
        if len(parts) != 2:
            raise UserError(
                f"{template!r} has {len(parts) - 1} places for a word: write {MASK} once."
            )
        return cls(*parts)

    def filled(self, word: str) -> str:
        """The text with a word."""
        return self.before + word + self.after


def word_log_probabilities(
    asked: Asked, filled: Sequence[tuple[Blank, str]], pieces: Pieces
) -> Floats:
    """Log-probability (N,) of words at their places, in nats.

    Args:
        asked: a masked language model or a decoder.
        filled: texts, each with a word.
        pieces: what becomes of words of several tokens; a decoder multiplies anyway.

    Raises:
        UserError: a word has no tokens of its own, or too many; or a text is too long.
    """
    asked.check_language_model()
    encodings = asked.encoded([blank.filled(word) for blank, word in filled])
    guesses, owners = list[Guess](), list[int]()
    for number, ((blank, word), encoding) in enumerate(zip(filled, encodings, strict=True)):
        _check_length(asked, blank.filled(word), encoding)
        places = _places(asked, blank, word, encoding)
        own = _masked(asked, encoding, places) if asked.masked else [_next(asked, encoding, places)]
        if len(own) > 1 and pieces == "refuse":
            raise UserError(
                f"The tokenizer of {asked.name} writes {word!r} in {len(own)} pieces "
                f"({', '.join(encoding.tokens[place] for place in places)}), and a mask holds one: "
                "choose another word, or multiply the probabilities of pieces (pieces: multiply)."
            )
        guesses += own
        owners += [number] * len(own)
    sums = np.zeros(len(filled))
    np.add.at(sums, owners, log_probabilities(asked.model, guesses))
    return sums


def _places(asked: Asked, blank: Blank, word: str, encoding: Encoding) -> list[int]:
    """The tokens that a word has in its text, as numbers from 0."""
    start, stop = len(blank.before), len(blank.before) + len(word)
    own = [n for n, (a, b) in enumerate(encoding.offsets) if a < stop and b > start]
    if own and own[0] and encoding.tokens[own[0] - 1] == SPACE:
        own.insert(0, own[0] - 1)
    text = blank.filled(word)
    first, last = (encoding.offsets[own[0]][0], encoding.offsets[own[-1]][1]) if own else (0, 0)
    outside = (text[first:start] + text[stop : max(last, stop)]).strip()
    unknown = any(encoding.ids[n] == asked.tokenizer.unk_token_id for n in own)
    if not own or outside or unknown:
        why = "no token for it" if unknown or not own else f"it in one token with {outside!r}"
        raise UserError(
            f"{word!r} cannot be asked for in {text!r}: the tokenizer of {asked.name} has {why}. "
            "Choose another word."
        )
    return own


def _masked(asked: Asked, encoding: Encoding, places: Sequence[int]) -> list[Guess]:
    """One guess for each piece: those before it are there, the others are hidden."""
    mask, shift = asked.tokenizer.mask_token_id, len(asked.frame[0])
    guesses = []
    for number, place in enumerate(places):
        ids = list(encoding.ids)
        for hidden in places[number:]:
            ids[hidden] = mask
        guess = Guess(tuple(asked.framed(ids)), (place + shift,), (encoding.ids[place],))
        guesses.append(guess)
    return guesses


def _next(asked: Asked, encoding: Encoding, places: Sequence[int]) -> Guess:
    """The word's tokens and all behind them, each guessed from what stands before it."""
    ids, first = asked.framed(encoding.ids), places[0] + len(asked.frame[0])
    return Guess(tuple(ids), tuple(range(first - 1, len(ids) - 1)), tuple(ids[first:]))


def _check_length(asked: Asked, text: str, encoding: Encoding) -> None:
    if len(encoding.ids) > asked.room(asked.model.max_length):
        raise UserError(
            f"{text[:60]!r} ... has {len(encoding.ids)} tokens, and {asked.name} reads "
            f"{asked.model.max_length}: shorten it."
        )
