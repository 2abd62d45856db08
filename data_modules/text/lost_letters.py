"""Letters, signs and joiners of texts that no token stands for."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tokenizers import Encoding

CLUTTER = (
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # control characters but for spaces
    "\xad\u061c\u200e\u200f\u202a-\u202e\u2060\u2066-\u206f\ufeff"  # hyphenation and direction
)
"""Invisible characters that tell no word from another: the inside of a regular expression's set.

Other invisible ones do, or they change how a word is written: joiners (Persian, Bangla, Malayalam,
Sinhala, families of emoji), number signs, tags of flags.
"""
BREAK = "\u200b"
"""Where words may part in scripts without spaces (Khmer, Thai)."""

_NO_LETTERS = re.compile(rf"[\s{CLUTTER}{BREAK}]")


def lost_share(
    normalizer: Any, unknown: int | None, texts: Sequence[str], cut: Sequence[Encoding]
) -> float:
    """Share of the letters, signs and joiners that are left out or in unknown tokens.

    Case and Unicode's ways to write one letter are not lost: folding them is asked for. What a
    normaliser drops before any token is made leaves no unknown token to be seen by.

    Args:
        normalizer: of the tokenizer's engine, if it has one.
        unknown: id of the unknown token, if there is one.
        texts: to look at.
        cut: their encodings.
    """
    lost = total = 0
    for text, one in zip(texts, cut, strict=True):
        letters = _letters(text)
        total += letters.total()
        kept = _letters(_normalised(text, normalizer))
        for token, (start, stop) in zip(one.ids, one.offsets, strict=True):
            if token == unknown:
                kept -= _letters(_normalised(text[start:stop], normalizer))
        lost += (letters - kept).total()
    return lost / max(total, 1)


def _normalised(text: str, normalizer: Any) -> str:
    return text if normalizer is None else str(normalizer.normalize_str(text))


def _letters(text: str) -> Counter[str]:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return Counter(_NO_LETTERS.sub("", folded))
