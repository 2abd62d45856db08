"""Noise in what a student reads, while its teacher reads the clean text.

What is made of a word is a function of the seed, the text and the pass alone. A letter and the
marks on it stay together: nothing tears a vowel sign off its consonant, or a conjunct apart. Spaces
stay where they are, and no word becomes empty.
"""

from __future__ import annotations

import random
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass

from data_modules.code_mixing.romanisation import SCHEMES, romanised, spelled
from data_modules.tasks.rows import Span
from lit_distill.knobs import Share, check_knobs

_WORD = re.compile(r"\S+")
_VIRAMA = 9  # the combining class of signs that join two consonants
_JOINERS = "\u200c\u200d"
_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_BESIDE = {
    key: row[max(place - 1, 0) : place] + row[place + 1 : place + 2]
    for row in _KEYBOARD
    for place, key in enumerate(row)
}

_ALIKE = (
    "0Oo", "1lI|", "5S", "8B", "2Z", "6b", "9g", "ceo", "hb", "uv", "nu", "ij", "ft",
    "CG", "EF", "VU",
    "ил", "нп", "шщ", "ео", "вб", "тг",  # Cyrillic
    "υν", "ορ", "αο", "θδ",  # Greek
    "बव", "भम", "घध", "पष", "यथ", "डङ", "टठ", "दढ", "रस",  # Devanagari
    "বর", "যষ", "ঘষ", "খথ", "তভ", "নণ", "ডউ",  # Bengali
    "بتث", "حخج", "دذ", "رز", "سش", "صض", "طظ", "عغ", "فق",  # Arabic
    "日曰目", "己已巳", "未末", "土士", "人入", "大太犬", "干千", "王玉", "天夫", "鸟乌",  # Han
    "シツ", "ソン", "カ力", "ロ口", "ニ二", "エ工", "ハ八", "はほ", "めぬ", "るろ",  # Kana
    "ดคต", "กถภ", "บปษ", "ผพฝฟ", "ขช", "ซช",  # Thai
)  # fmt: skip
"""Characters that a reader of scanned pages takes for each other."""
_CONFUSED: dict[str, str] = {}
for _group in _ALIKE:
    for _one in _group:
        _CONFUSED[_one] = _CONFUSED.get(_one, "") + _group.replace(_one, "")
_JOINED = {"rn": "m", "cl": "d", "vv": "w", "nn": "m", "ri": "n", "li": "h"}
_PARTED = {"m": "rn", "d": "cl", "w": "vv", "h": "li"}


class Noise(ABC):
    """A way in which texts are damaged: a frozen dataclass that a config names by `class_path`."""

    def changes(self, languages: Collection[str]) -> bool:
        """Whether there is anything to do in texts of these languages."""
        return bool(languages)

    @abstractmethod
    def word(self, word: str, language: str, draw: random.Random) -> str:
        """What becomes of a word; never empty."""

    def text(
        self, text: str, words: tuple[Span, ...], language: str, draw: random.Random
    ) -> tuple[str, tuple[Span, ...]]:
        """A text with noise, and where its words are then.

        Args:
            text: a clean one.
            words: where its labelled words are, ascending; none: words are what stands between
                white space.
            language: of it.
            draw: random numbers.
        """
        made, spans, done = "", list[Span](), 0
        for start, end in words or [found.span() for found in _WORD.finditer(text)]:
            made += text[done:start]
            word = self.word(text[start:end], language, draw)
            spans.append((len(made), len(made) + len(word)))
            made, done = made + word, end
        return made + text[done:], tuple(spans) if words else ()


@dataclass(frozen=True)
class Typos(Noise):
    """Letters that are missing, doubled, swapped with the next one, or the keyboard's neighbours.

    Attributes:
        rate: of letters that something happens to, a quarter each; where a keyboard has no
            neighbour, a third of what is left.
    """

    rate: Share = 0.05

    def __post_init__(self) -> None:
        check_knobs(type(self), vars(self))

    def word(self, word: str, language: str, draw: random.Random) -> str:
        """See `Noise.word`."""
        letters, made, place = clusters(word), list[str](), 0
        while place < len(letters):
            letter = letters[place]
            after = letters[place + 1] if place + 1 < len(letters) else ""
            place += 1
            if draw.random() >= self.rate:
                made.append(letter)
                continue
            beside = _BESIDE.get(letter, "")
            chance = draw.random() * (4 if beside else 3)
            if chance < 1:  # missing, unless it is all there is
                made += [letter] if len(letters) == 1 else []
            elif chance < 2:
                made += [letter, letter]
            elif chance < 3:
                made += [after, letter]
                place += bool(after)
            else:
                made.append(beside[int(draw.random() * len(beside))])
        return "".join(made) or letters[0]


@dataclass(frozen=True)
class OpticalErrors(Noise):
    """Characters that are read for others that look alike (Latin, Cyrillic, Devanagari, Han, ...).

    Attributes:
        rate: of characters that have such a one and are taken for it.
    """

    rate: Share = 0.1

    def __post_init__(self) -> None:
        check_knobs(type(self), vars(self))

    def word(self, word: str, language: str, draw: random.Random) -> str:
        """See `Noise.word`; marks stay on what stands in the place of their letter."""
        made, place = "", 0
        while place < len(word):
            pair, letter = word[place : place + 2], word[place]
            others = [_JOINED[pair]] if pair in _JOINED else list(_CONFUSED.get(letter, ""))
            others += [_PARTED[letter]] if letter in _PARTED else []
            step = len(pair) if pair in _JOINED else 1
            if others and draw.random() < self.rate:
                chosen = int(draw.random() * len(others))
                made += others[chosen]
                place += step if chosen == 0 else 1
            else:
                made += letter
                place += 1
        return made


@dataclass(frozen=True)
class Romanised(Noise):
    """Indic words in Latin letters, as people type them; others stay as they are.

    Languages are hi, mr, ne and bn, and mixes that begin with one of them, such as hi-en.

    Attributes:
        spellings: of words that are spelled as somebody else would.
    """

    spellings: Share = 0.3

    def __post_init__(self) -> None:
        check_knobs(type(self), vars(self))

    def changes(self, languages: Collection[str]) -> bool:
        """See `Noise.changes`."""
        return any(_scheme(language) for language in languages)

    def word(self, word: str, language: str, draw: random.Random) -> str:
        """See `Noise.word`."""
        known = _scheme(language)
        if not known:
            return word

        def typed(found: re.Match[str]) -> str:
            return spelled(romanised(found[0], known), self.spellings, draw) or found[0]

        return _INDIC.sub(typed, word)


_INDIC = re.compile(r"[\u0900-\u0963\u0966-\u09ff][\u0900-\u0963\u0966-\u09ff\u200c\u200d]*|[।॥]")


def _scheme(language: str) -> str:
    """The language that can be romanised, of a tag; empty where there is none."""
    first = language.partition("-")[0]
    return first if first in SCHEMES else ""


def clusters(word: str) -> list[str]:
    """Letters with all marks on them; of Indic scripts, whole conjuncts."""
    found: list[str] = []
    joins = False
    for character in word:
        mark = unicodedata.category(character)[0] == "M" or character in _JOINERS
        if found and (mark or joins):
            found[-1] += character
        else:
            found.append(character)
        if character not in _JOINERS:
            joins = unicodedata.combining(character) == _VIRAMA
    return found
