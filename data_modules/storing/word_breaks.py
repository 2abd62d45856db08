"""Where words begin in scripts without spaces: Chinese, Japanese, Thai, Lao, Khmer, Burmese, ...

The words are ICU's (Unicode's word boundaries, with dictionaries for these scripts), from the extra
`words`. Where there are none, for want of the library or of a dictionary, pieces of such scripts
are words of their own, and that is said. Text in other scripts is left to the tokenizer's marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from data_modules.storing.corpus_report import FileReport
from lit_distill.scripts import DICTIONARY, OTHER, UNKNOWN_WORDS, UNSPACED, Ranges

Bools = NDArray[np.bool_]
Codes = NDArray[np.uint32]


class WordBreaks:
    """Tells which tokens of a text begin a word, in scripts without spaces."""

    @cached_property
    def _icu(self) -> Any:
        """The library's breakers; None where it is not installed."""
        try:
            return import_module("icu4py.breakers")
        except ImportError:
            return None

    @property
    def stamp(self) -> str:
        """Whose words they are: part of what decides on masks."""
        return f"ICU {import_module('icu4py').icu_version}" if self._icu else "pieces"

    def knows(self, text: str) -> bool:
        """Whether the words of all scripts in a text can be told."""
        return not UNSPACED.search(text) or bool(self._icu and not UNKNOWN_WORDS.search(text))

    def of_tokens(self, text: str, offsets: Sequence[tuple[int, int]]) -> Bools:
        """For every token of a text, whether a word of such a script begins with it.

        Args:
            text: with or without such a script.
            offsets: where tokens are in it, in characters.
        """
        begins = np.zeros(len(offsets), dtype=bool)
        if not offsets or not UNSPACED.search(text):
            return begins
        at = np.array([start for start, _ in offsets])
        # Behind the last one of a character's pieces is the next character: they stay together.
        fresh = np.diff(at, prepend=-1) > 0
        return np.asarray(fresh & self._breaks(text)[np.minimum(at, len(text) - 1)])

    def _breaks(self, text: str) -> Bools:
        """For every character, whether a word begins there and it or the last one is unspaced."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        beside = _among(codes, _UNSPACED)
        beside[1:] |= beside[:-1].copy()
        if self._icu is None:
            return beside
        words = np.zeros(len(text), dtype=bool)
        units = [start for start, _ in self._icu.WordBreaker(text, "en").segments()]
        places = np.array(units, dtype=np.int64)
        if codes.max() > 0xFFFF:  # ICU counts in units of UTF-16, two for such a character
            wide = 1 + (codes > 0xFFFF)
            places = np.searchsorted(np.cumsum(wide) - wide, places)
        words[places[places < len(text)]] = True
        words |= _among(codes, _UNKNOWN)
        return np.asarray(words & beside)


def _bounds(ranges: Ranges) -> Codes:
    """First codes of ranges, and those behind their last ones, in order."""
    return np.array([code for a, b in sorted(ranges) for code in (a, b + 1)], dtype=np.uint32)


_UNSPACED, _UNKNOWN = _bounds((*DICTIONARY, *OTHER)), _bounds(OTHER)


def _among(codes: Codes, bounds: Codes) -> Bools:
    return np.asarray(np.searchsorted(bounds, codes, side="right") % 2 == 1)


def warn_of(reports: Sequence[FileReport]) -> None:
    """Warns of languages whose words could not be told, where words are to be masked whole."""
    counts: dict[str, int] = {}
    for report in reports:
        counts[report.language] = counts.get(report.language, 0) + report.unsegmented
    if named := [f"{language} ({count} texts)" for language, count in counts.items() if count]:
        rank_zero_warn(
            f"No word boundaries are known for {', '.join(named)}: the script has no spaces, and "
            "pieces are masked one by one there, not words. For Chinese, Japanese, Thai, Lao, "
            "Khmer and Burmese `pip install lit-distill[words]` brings them; other such scripts "
            "have none."
        )
