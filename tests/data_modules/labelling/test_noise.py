"""Noise: a function of its random numbers that keeps words, and letters with their marks."""

from __future__ import annotations

import random
import unicodedata

import pytest

from data_modules import OpticalErrors, Romanised, Typos
from data_modules.labelling.noise import Noise, clusters

TEXTS = {
    "hi": "क्या ज़िन्दगी में प्रधानमन्त्री दिल्ली जाएँगे ?",
    "bn": "আমি বাংলায় গান গাই , কৃষ্ণচূড়া ।",
    "th": "กรุงเทพฯ เป็น เมืองหลวง",
    "en": "the modern clerk will learn",
    "fr": "déjà vu e\u0301le\u0301gant",
    "zh": "北京 是 中国 的 首都",
}


def test_a_letter_is_whole() -> None:
    assert clusters("क्षत्रिय") == ["क्ष", "त्रि", "य"]
    assert clusters("e\u0301le\u0301") == ["e\u0301", "l", "e\u0301"]
    assert clusters("ক\u09cd\u200dষ") == ["ক\u09cd\u200dষ"]


@pytest.mark.parametrize("noise", [Typos(0.7), OpticalErrors(1.0), Romanised()], ids=str)
@pytest.mark.parametrize("language", TEXTS)
def test_words_stay_and_no_mark_is_torn_off(noise: Noise, language: str) -> None:
    text, known = TEXTS[language], {*clusters(TEXTS[language].replace(" ", ""))}
    spans, start = [], 0
    for word in text.split():
        spans.append((text.index(word, start), text.index(word, start) + len(word)))
        start = spans[-1][1]
    for seed in range(40):
        made, words = noise.text(text, tuple(spans), language, random.Random(seed))
        again, none = noise.text(text, (), language, random.Random(seed))
        assert (made, none) == (again, ())  # words between spaces are the same here
        assert made.split() == [made[start:end] for start, end in words]
        assert len(words) == len(spans)
        for word in made.split():
            assert unicodedata.category(word[0])[0] != "M"
        if isinstance(noise, Typos) and language in ("hi", "bn"):
            assert {*clusters(made.replace(" ", ""))} <= known  # moved and doubled, never cut


@pytest.mark.parametrize(
    ("noise", "language", "made"),
    [
        (Typos(0.0), "hi", TEXTS["hi"]),
        (OpticalErrors(0.0), "en", TEXTS["en"]),
        (Romanised(0.0), "en", TEXTS["en"]),
        (Romanised(0.0), "hi", "kya zindagi mein pradhanmantri dilli jaenge ?"),
    ],
)
def test_what_noise_makes(noise: Noise, language: str, made: str) -> None:
    assert noise.text(TEXTS[language], (), language, random.Random(1))[0] == made


def test_rates_are_rates() -> None:
    text, typos, optical = " ".join(["ab"] * 4000), Typos(0.2), OpticalErrors(0.3)
    words = typos.text(text, (), "en", random.Random(0))[0].split()
    # The last letter has none behind it to be swapped with.
    assert abs(sum(word != "ab" for word in words) / 4000 - (0.2 + 0.8 * 0.2 * 3 / 4)) < 0.03
    words = optical.text("0 " * 4000, (), "en", random.Random(0))[0].split()
    assert abs(sum(word != "0" for word in words) / 4000 - 0.3) < 0.03


def test_scanned_letters_are_taken_for_their_like() -> None:
    made = {OpticalErrors(1.0).word("rn", "en", random.Random(s)) for s in range(20)}
    assert "m" in made
    assert all(OpticalErrors(1.0).word("बी", "hi", random.Random(s)) == "वी" for s in range(9))
