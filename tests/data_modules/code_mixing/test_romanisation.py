"""Indic words as they are typed."""

from __future__ import annotations

import random

import pytest

from data_modules.code_mixing.romanisation import romanised, spelled
from lit_distill.errors import UserError


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("hi", {"कितने": "kitne", "रहे": "rahe", "हैं": "hain", "नहीं": "nahi", "बच्चे": "bachche",
                "लड़कियाँ": "ladkiyan", "समझ": "samajh", "अच्छा": "accha", "ज़रूरत": "zarurat",
                "हूँ": "hoon", "मुंबई": "mumbai", "विज्ञान": "vigyan", "में": "mein",
                "लिए": "liye", "कृपया": "kripya", "राष्ट्र": "rashtra", "।": "."}),
        ("bn", {"আমি": "ami", "ভালো": "bhalo", "বছর": "bochhor", "থেকে": "theke", "যাবে": "jabe",
                "জন্য": "jonyo", "হয়": "hoy", "পড়া": "pora", "এবং": "ebong", "চাঁদ": "chad"}),
        ("ne", {"नेपाल": "nepal"}),
        ("hi", {"phone": "phone", "12": "12", "!": "!"}),
    ],
)  # fmt: skip
def test_words_as_people_type_them(language: str, words: dict[str, str]) -> None:
    pytest.importorskip("indic_transliteration")
    assert {word: romanised(word, language) for word in words} == words


def test_other_languages_are_refused() -> None:
    with pytest.raises(UserError, match="'ja' cannot be romanised"):
        romanised("日本", "ja")


def test_spelling_varies_by_chance_alone() -> None:
    words = ["nahi", "bhi", "kyun", "wahan", "bachche", "zyada", "karna", "hain", "mein"]
    assert [spelled(word, 0.0, random.Random(0)) for word in words] == words
    varied = [spelled(word, 1.0, random.Random(1)) for word in words]
    assert varied == [spelled(word, 1.0, random.Random(1)) for word in words]
    assert sum(one != word for one, word in zip(varied, words, strict=True)) >= 7
    draw = random.Random(0)
    share = sum(spelled("nahi", 0.3, draw) != "nahi" for _ in range(2000)) / 2000
    assert share == pytest.approx(0.3, abs=0.03)
    assert {spelled("nahi", 1.0, random.Random(seed)) for seed in range(30)} >= {"nhi", "nahee"}
    assert spelled("me", 1.0, draw) == "me"  # too short to vary
