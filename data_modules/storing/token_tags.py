"""The languages of words, as a byte beside every token.

A byte holds a number from 1 for the tag of the token's word, 0 where it has none (other text,
special tokens), and `SWITCHED` on top for all pieces of a word at a switch point: a word that has
another tag than the tagged word before it in its text. `WORD` on top of both marks tokens that
begin a word of a script without spaces (see `word_breaks`), if one asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_modules.reading.tagged_text import TaggedText
from data_modules.text.code_mixing_statistics import code_mixing_index, switch_points
from lit_distill.errors import UserError

SWITCHED, WORD = 128, 64
LANGUAGE = WORD - 1
"""The bits of the number."""
UNKNOWN = -1
"""The mixing of a text whose words have no tags."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class WindowTags:
    """What stands beside windows.

    Attributes:
        tags: (M,) a byte for every token.
        mixing: (W,) int16, the code-mixing index of the window's text in whole per cent, or
            `UNKNOWN`.
    """

    tags: Bytes
    mixing: NDArray[np.int16]


class TagNumbers:
    """Numbers tags as they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        """The tags by number, from 1 on."""
        return list(self._numbers)

    def of_tokens(self, text: str, offsets: Sequence[tuple[int, int]]) -> Bytes:
        """A byte for every token of a text, from where tokens are in it (in characters).

        Raises:
            UserError: a corpus with more tags than a byte has room for.
        """
        result = np.zeros(len(offsets), dtype=np.uint8)
        if not isinstance(text, TaggedText) or not text.words or not offsets:
            return result
        tags = text.tags
        codes = np.array([self._number(tag) for tag in tags], dtype=np.uint8)
        codes[switch_points(tags)] |= SWITCHED
        starts = np.array([start for start, _, _ in text.words])
        stops = np.array([stop for _, stop, _ in text.words])
        last = np.array([stop for _, stop in offsets]) - 1  # some tokens begin with a space
        word = np.searchsorted(starts, last, side="right") - 1
        inside = (word >= 0) & (last < stops[word])
        result[inside] = codes[word[inside]]
        return result

    def _number(self, tag: str | None) -> int:
        if tag is None:
            return 0
        number = self._numbers.setdefault(tag, len(self._numbers) + 1)
        if number > LANGUAGE:
            raise UserError(
                f"More than {LANGUAGE} different language tags of words (the last is {tag!r}): "
                "does `tags:` of a source name the right column?"
            )
        return number


def mixing_of(text: str) -> int:
    """The code-mixing index of a text in whole per cent; `UNKNOWN` without tags."""
    if not isinstance(text, TaggedText) or not any(text.tags):
        return UNKNOWN
    return round(code_mixing_index(text.tags))
