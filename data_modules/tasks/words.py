"""Words and their text: where each word is in it, and which tokens are its pieces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from data_modules.tasks.rows import Span
from lit_distill.scripts import UNSPACED

_WIDE = re.compile("[\u3000-\u303f\uff00-\uffef]")  # punctuation between words without spaces
_MARKS = "\u2581\u0120 "
"""What tokenizers write for a space: ▁ and Ġ."""


def joined(words: Sequence[str]) -> tuple[str, list[Span]]:
    """The text of these words, and where each is in it.

    A space goes between two words unless the one ends or the other begins in a script that has
    none (Chinese, Japanese, Thai, ...).
    """
    text, spans = "", list[Span]()
    for word in words:
        if text and not (_unspaced(text[-1]) or _unspaced(word[0])):
            text += " "
        spans.append((len(text), len(text) + len(word)))
        text += word
    return text, spans


def located(text: str, words: Sequence[str]) -> list[Span]:
    """Where the words are in a text that is given as it was written.

    Raises:
        ValueError: one is not there, behind those before it.
    """
    spans, end = list[Span](), 0
    for word in words:
        start = text.find(word, end)
        if start < 0:
            raise ValueError(f"words that are not in the text (the first is {word!r})")
        end = start + len(word)
        spans.append((start, end))
    return spans


def pieces(
    text: str, words: Sequence[Span], tokens: Sequence[str], offsets: Sequence[Span], first: bool
) -> Iterator[tuple[int, int]]:
    """Positions of pieces of words, ascending, each with the number of its word.

    A token belongs to the word of the first character that it covers: tokenizers that find their
    words themselves make one token of two short words where no space parts them, and the second one
    then has no piece. A token that is only the mark of a space is no piece, nor are special tokens.

    Args:
        text: what was tokenised.
        words: where words are in it, ascending.
        tokens: as they are written.
        offsets: the characters that each token covers; none, of special ones.
        first: give only the first piece of every word.
    """
    owner = [-1] * len(text)
    for number, (start, end) in enumerate(words):
        owner[start:end] = [number] * (end - start)
    known = -1
    for position, (token, (start, end)) in enumerate(zip(tokens, offsets, strict=True)):
        if not token.strip(_MARKS):
            continue
        word = next((number for number in owner[start:end] if number >= 0), -1)
        if word >= 0 and not (first and word <= known):
            yield position, word
            known = max(known, word)


def _unspaced(character: str) -> bool:
    return bool(UNSPACED.match(character) or _WIDE.match(character))
