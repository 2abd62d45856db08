"""Scripts that are written without spaces between words."""

from __future__ import annotations

import re

Ranges = tuple[tuple[int, int], ...]

DICTIONARY: Ranges = (
    (0x0E01, 0x0E3A), (0x0E40, 0x0E5B), (0x0E81, 0x0EFF),  # Thai and Lao
    (0x0F00, 0x0FFF),  # Tibetan, whose syllables are marked
    (0x1000, 0x109F), (0x1780, 0x17FF), (0x19E0, 0x19FF),  # Myanmar and Khmer
    (0x2E80, 0x2FDF), (0x3005, 0x3005), (0x3007, 0x3007), (0x3021, 0x3029), (0x3038, 0x303B),  # Han
    (0x3041, 0x30FF), (0x31F0, 0x31FF),  # Hiragana and Katakana
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF),  # Han
    (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F),  # Myanmar
    (0xF900, 0xFAFF),  # Han
    (0xFF66, 0xFF9F), (0x1B000, 0x1B16F),  # Katakana and Hiragana
    (0x20000, 0x3FFFF),  # Han
)  # fmt: skip
"""Characters of scripts whose words (of Tibetan: syllables) ICU finds: first and last codes."""

OTHER: Ranges = (
    (0x1950, 0x19DF), (0x1A20, 0x1AAF), (0xAA80, 0xAADF), (0x11700, 0x1174F),  # Tai scripts, Ahom
    (0x1B00, 0x1B7F), (0xA980, 0xA9DF), (0xAA00, 0xAA5F),  # Balinese, Javanese, Cham
)  # fmt: skip
"""Characters of scripts whose words it does not find."""


def _class(ranges: Ranges) -> str:
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


UNSPACED = re.compile(f"[{_class((*DICTIONARY, *OTHER))}]")
"""A character of a script without spaces between words."""
UNKNOWN_WORDS = re.compile(f"[{_class(OTHER)}]")
"""One of a script whose words ICU has no dictionary for."""
