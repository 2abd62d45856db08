"""Indic scripts as people type them in Latin letters.

The script is read by `indic-transliteration` (tables for all Brahmic scripts, kept up to date by
others; the extra `codemixed`), which gives every letter its inherent vowel: "kitane", "rahe haim".
Nobody types that. Here the silent vowels are left out (Hindi's rule; Bengali's is close to it),
long vowels, retroflex letters and nasals lose their marks, and the commonest spellings are applied:
"kitne", "rahe hain". Then `spelled` varies words as different people would.
"""

from __future__ import annotations

import random
import re
from functools import cache
from importlib import import_module
from typing import Any

from lit_distill.errors import UserError

SCHEMES = {"hi": "devanagari", "mr": "devanagari", "ne": "devanagari", "bn": "bengali"}
"""Languages that can be romanised, and their script's name in `indic-transliteration`."""

_NUKTA, _VIRAMA = "\u09bc", "\u09cd"
_BENGALI = (
    # letters that the library does not read, precomposed or not: rra, rha, yya
    (re.compile(f"\u09dc|\u09a1{_NUKTA}|\u09dd|\u09a2{_NUKTA}"), "\u09b0"),
    # ya that is said ja; not after a virama (jonyo) and not yya (hoye)
    (re.compile(f"(?<!{_VIRAMA})\u09af(?!{_NUKTA})"), "\u099c"),
    (re.compile(f"\u09df|\u09af{_NUKTA}"), "\u09af"),
)
"""Bengali spelling, nearer to its sound."""

# ISO 15919 as typed; longer keys first. The inherent vowel is `a`, every written one has a mark or
# is another letter, so that silent vowels can be found before marks go.
_ISO_CONSONANTS = {
    "ch": "chh", "c": "ch", "ṭh": "th", "ṭ": "t", "ḍh": "dh", "ḍ": "d", "ṛh": "dh", "ṛ": "d",
    "ṇ": "n", "ñ": "n", "ṅ": "n", "ś": "sh", "ṣ": "sh", "ḷ": "l", "ḵẖ": "kh", "ġ": "g", "ṟ": "r",
    "q": "k", "ẏ": "y", "ḻ": "l", "ḥ": "h", "k͟h": "kh",
}  # fmt: skip
_VOWELS = {
    "r̥": "ri",
    "ā": "a",
    "ī": "i",
    "ū": "u",
    "ē": "e",
    "ō": "o",
    "ê": "e",
    "ô": "o",
    "æ": "e",
}
_CONSONANT = "bcdfghjklmnpqrstvwxyzṭḍṇñṅśṣḷṛġṟẏḻ"
_WRITTEN = "aāiīuūeēoōêôæ"
_UNIT = re.compile(rf"r̥|m̐|ṁ|k͟h|ḥ|[{_CONSONANT}]h?|ai|au|[{_WRITTEN}]|.", re.DOTALL)
_TYPED = (
    (re.compile("(?<=[iao])e$"), "ye"),  # liye, gaye
    (re.compile("chchh"), "cch"),  # accha
)
_COMMON = {
    "hi": {
        "men": "mein", "nahin": "nahi", "yah": "yeh", "vah": "woh", "ve": "woh", "vo": "wo",
        "hun": "hoon", "kyon": "kyun", "vala": "wala", "vale": "wale", "vali": "wali",
    },
    "bn": {"kemon": "kemon"},
}  # fmt: skip


def romanised(word: str, language: str) -> str:
    """One word as it would be typed; a word in other letters is returned as it is.

    Raises:
        UserError: `language` cannot be romanised, or the package is not installed.
    """
    if language not in SCHEMES:
        known = ", ".join(sorted(SCHEMES))
        raise UserError(f"{language!r} cannot be romanised (only {known}): set `romanise: false`.")
    if word.isascii():
        return word
    if word in ("।", "॥"):
        return "."
    return _romanised(word, language)


@cache
def _library() -> Any:
    try:
        return import_module("indic_transliteration.sanscript")
    except ImportError as error:
        raise UserError(
            "Romanising needs the package indic-transliteration: pip install "
            "'lit-distill[codemixed]', or set `romanise: false`."
        ) from error


@cache  # one entry per distinct word
def _romanised(word: str, language: str) -> str:
    library = _library()
    for found, instead in _BENGALI if language == "bn" else ():
        word = found.sub(instead, word)
    iso = library.transliterate(word, SCHEMES[language], library.ISO)
    iso = iso.replace("jñ", "gy") if language != "bn" else iso.replace("v", "b")
    units = _UNIT.findall(iso)
    kept = _voiced(units) if language != "bn" else _voiced_bengali(units)
    typed = "".join(kept).replace("\u200c", "").replace("\u200d", "")  # joiners, which are no sound
    for found, instead in _TYPED if language != "bn" else ():
        typed = found.sub(instead, typed)
    return _COMMON.get(language, {}).get(typed, typed)


def _is_consonant(unit: str) -> bool:
    return unit[0] in _CONSONANT and unit != "r̥"


def _is_vowel(unit: str) -> bool:
    return unit[0] in _WRITTEN or unit in ("ai", "au", "r̥")


def _silent(units: list[str]) -> set[int]:
    """Inherent vowels that nobody says, from the end of the word to its beginning.

    A last one after a single consonant; inside, one between vowel + consonant and consonant +
    vowel (Ohala, 1983, "Aspects of Hindi phonology"): kitane, kitne.
    """
    silent: set[int] = set()
    last = len(units) - 1
    if last >= 2 and units[last] == "a" and _is_consonant(units[last - 1]):
        cluster = _is_consonant(units[last - 2])
        if not cluster or units[last - 1] not in ("y", "v", "r", "l"):
            silent.add(last)
    for place in range(last - 2, 1, -1):
        before, after = units[place - 1], units[place + 1]
        if units[place] != "a" or not (_is_consonant(before) and _is_consonant(after)):
            continue
        opens = _is_vowel(units[place - 2]) and place - 2 not in silent
        follows = place + 2 <= last and _is_vowel(units[place + 2]) and place + 2 not in silent
        if opens and follows:
            silent.add(place)
    return silent


def _voiced(units: list[str]) -> list[str]:
    """Hindi and its neighbours."""
    silent = _silent(units)
    kept = []
    for place, unit in enumerate(units):
        if place in silent:
            continue
        if unit in ("ṁ", "m̐"):
            after = units[place + 1][0] if place + 1 < len(units) else ""
            kept.append("m" if after and after in "pbm" else "n")
        else:
            kept.append(_typed(unit))
    return kept


def _voiced_bengali(units: list[str]) -> list[str]:
    """Bengali: the inherent vowel is said o; it falls at the end, as in Hindi."""
    silent = _silent(units)
    kept = []
    for place, unit in enumerate(units):
        if place in silent:
            continue
        if unit in ("ṁ", "m̐"):
            kept.append("ng" if unit == "ṁ" else "")
        elif unit == "a":
            kept.append("a" if place == 0 else "o")
        elif unit == "y" and place and _is_consonant(units[place - 1]):
            kept.append("y")
        else:
            kept.append(_typed(unit))
    return kept


def _typed(unit: str) -> str:
    if unit in _ISO_CONSONANTS:
        return _ISO_CONSONANTS[unit]
    return _VOWELS.get(unit, unit)


VARIANTS = (
    (re.compile(r"(?<=[bcdfghjklmnpqrstvwxyz])a(?=h[aeiou])"), ""),  # nahi, nhi
    (re.compile(r"(?<=[bcdfghjklmnpqrstvwxyz])a(?=[bcdfghjklmnpqrstvwxyz][aeiou]?$)"), "aa"),
    (re.compile(r"(?<![aeiou])i$"), "ee"),  # bhi, bhee
    (re.compile(r"(?<=[bcdfghjklmnpqrstvwxyz])u(?=[a-z])"), "oo"),
    (re.compile(r"v"), "w"),
    (re.compile(r"w"), "v"),
    (re.compile(r"ph"), "f"),
    (re.compile(r"z"), "j"),
    (re.compile(r"chh"), "ch"),
    (re.compile(r"ain$"), "ai"),
    (re.compile(r"ein$"), "e"),
    (re.compile(r"(?<=[bcdfghjklmnpqrstvwxyz])o(?=[^aeiou\W])"), "a"),
    (re.compile(r"(?<=[^\W])(.)\1(?=[^\W])"), r"\1"),
)
"""Spellings that one person or another would type: what is found, and what stands there instead."""


def spelled(word: str, probability: float, draw: random.Random) -> str:
    """A romanised word as somebody else may type it: with `probability`, one of the variants."""
    if len(word) < 3 or draw.random() >= probability:
        return word
    fitting = [(found, instead) for found, instead in VARIANTS if found.search(word)]
    if not fitting:
        return word
    found, instead = draw.choice(fitting)
    return found.sub(instead, word, count=1)
