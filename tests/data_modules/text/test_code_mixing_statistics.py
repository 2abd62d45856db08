"""Twenty written examples whose numbers were worked out by hand, and a corpus of some of them."""

from __future__ import annotations

from math import log2, sqrt

import pytest

from data_modules.text.code_mixing_statistics import (
    MixingStatistics,
    code_mixing_index,
    code_mixing_with_switches,
    script_shares,
    spans,
    switch_point_fraction,
    switch_points,
)

TAG = {"h": "hi", "e": "en", "b": "bn", ".": None}

# text, one letter per word (h hi, e en, b bn, . none), then by hand:
# CMI, CMI with switches, switch points, switch-point fraction, M-index, I-index, burstiness, bits
THIRD, TWO_THIRDS = 1 / 3, 2 / 3
BITS_1_2 = -(THIRD * log2(THIRD) + TWO_THIRDS * log2(TWO_THIRDS))
BITS_1_3 = 2 - 0.75 * log2(3)
EXAMPLES = [
    # monolingual: one span, so s = 0 and B = -1
    ("I like tea", "eee", 0, 0, [], 0, 0, 0, -1, 0),
    ("मुझे चाय पसंद है", "hhhh", 0, 0, [], 0, 0, 0, -1, 0),
    ("Tea !", "e.", 0, 0, [], 0, 0, 0, -1, 0),
    # nothing tagged
    ("! ? 42", "...", 0, 0, [], 0, 0, 0, 0, 0),
    ("", "", 0, 0, [], 0, 0, 0, 0, 0),
    # one word of each: max 1 of 2; (2-1+1)/4; sum p^2 = 1/2, M = (1/2)/(1/2)
    ("chai please", "he", 50, 50, [1], 1, 1, 1, -1, 1),
    # 2:1 ; (3-2+1)/6 ; 1 of 2 boundaries; sum p^2 = 5/9, M = (4/9)/(5/9); spans 2,1: m 1.5, s .5
    ("mujhe chai please", "hhe", 100 / 3, 100 / 3, [2], 0.5, 0.8, 0.5, -0.5, BITS_1_2),
    # the same with a full stop: 4 words, 3 boundaries
    ("mujhe chai please .", "hhe.", 100 / 3, 100 / 3, [2], 1 / 3, 0.8, 0.5, -0.5, BITS_1_2),
    # h e h: two switches; (3-2+2)/6; spans 1,1,1: s = 0
    ("mera phone hai", "heh", 100 / 3, 50, [1, 2], 1, 0.8, 1, -1, BITS_1_2),
    # the comma hides no switch: h , e ; 1 switch of 2 boundaries
    ("accha , okay", "h.e", 50, 50, [2], 0.5, 1, 1, -1, 1),
    # a name between words of one language is no switch
    ("kal Ravi aayega", "h.h", 0, 0, [], 0, 0, 0, -1, 0),
    # a name at the edge of a switch; 3:1; (4-3+1)/8; sum p^2 = 10/16, M = 6/10; spans 3,1: m 2, s 1
    (
        "kal office se Ravi late",
        "hhh.e",
        25,
        25,
        [4],
        0.25,
        0.6,
        1 / 3,
        -1 / 3,
        BITS_1_3,
    ),
    # four equal alternating: (4-2+3)/8
    ("yeh movie bahut boring", "hehe", 50, 62.5, [1, 2, 3], 1, 1, 1, -1, 1),
    # two halves: (4-2+1)/8; spans 2,2
    ("yeh bahut boring movie", "hhee", 50, 37.5, [2], 1 / 3, 1, 1 / 3, -1, 1),
    # 1:3 with spans 1,1,2: m 4/3, s = sqrt(2)/3; (4-3+2)/8
    (
        "Please mujhe call now",
        "ehee",
        25,
        37.5,
        [1, 2],
        TWO_THIRDS,
        0.6,
        TWO_THIRDS,
        (sqrt(2) - 4) / (sqrt(2) + 4),
        BITS_1_3,
    ),
    # trilingual, one each: 1 - 1/3; (3-1+2)/6; sum p^2 = 1/3, M = (2/3)/(2/3)
    ("ami coffee chahta", "beh", 200 / 3, 200 / 3, [1, 2], 1, 1, 1, -1, log2(3)),
    # trilingual 2:1:1: 1 - 2/4; (4-2+2)/8; sum p^2 = 6/16, M = (10/16)/(2*6/16); spans 2,1,1
    (
        "ami ekhon office jaunga",
        "bbeh",
        50,
        50,
        [2, 3],
        TWO_THIRDS,
        5 / 6,
        TWO_THIRDS,
        (sqrt(2) - 4) / (sqrt(2) + 4),
        1.5,
    ),
    # trilingual with punctuation inside and a return: b , e h . b : 4 tagged of 6
    ("ami , late hoon . abar", "b.eh.b", 50, 62.5, [2, 3, 5], 0.6, 5 / 6, 1, -1, 1.5),
    # tags missing in the middle: the words count as boundaries only; h ? ? e e -> 1:2
    ("yaar xyz abc so good", "h..ee", 100 / 3, 100 / 3, [3], 0.25, 0.8, 0.5, -0.5, BITS_1_2),
    # all tags missing but one
    ("foo bar chai", "..h", 0, 0, [], 0, 0, 0, -1, 0),
]


def tags(letters: str) -> list[str | None]:
    return [TAG[letter] for letter in letters]


def test_there_are_twenty() -> None:
    assert len(EXAMPLES) == 20
    assert all(len(text.split()) == len(letters) for text, letters, *_ in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example[0] or "nothing")
def test_an_example_worked_out_by_hand(example: tuple) -> None:  # type: ignore[type-arg]
    _, letters, cmi, cmi2, points, fraction, m_index, i_index, burstiness, bits = example
    given = tags(letters)
    assert code_mixing_index(given) == pytest.approx(cmi)
    assert code_mixing_with_switches(given) == pytest.approx(cmi2)
    assert switch_points(given) == points
    assert switch_point_fraction(given) == pytest.approx(fraction)
    corpus = MixingStatistics()
    corpus.add(given)
    assert corpus.cmi == pytest.approx(cmi)
    assert corpus.cmi_with_switches == pytest.approx(cmi2)
    assert corpus.m_index == pytest.approx(m_index)
    assert corpus.i_index == pytest.approx(i_index)
    assert corpus.burstiness == pytest.approx(burstiness)
    assert corpus.language_entropy == pytest.approx(bits)


def test_a_corpus_pools_indices_and_averages_mixing() -> None:
    """`hhe`, `ee`, `...`: 2 hi, 3 en; 1 switch of 3 gaps; spans 2, 1, 2."""
    corpus = MixingStatistics()
    for letters in ("hhe", "ee", "..."):
        corpus.add(tags(letters))
    assert (corpus.utterances, corpus.tagged_utterances, corpus.words) == (3, 2, 8)
    assert corpus.cmi == pytest.approx(100 / 6)  # (33.3 + 0) / 2: what has no tags has no CMI
    assert corpus.switch_point_fraction == pytest.approx(0.25)
    assert corpus.shares == {"en": 0.6, "hi": 0.4}
    assert corpus.m_index == pytest.approx(0.48 / 0.52)
    assert corpus.i_index == pytest.approx(1 / 3)
    mean, deviation = 5 / 3, sqrt(2) / 3
    assert corpus.burstiness == pytest.approx((deviation - mean) / (deviation + mean))


def test_spans_do_not_see_words_without_tags() -> None:
    assert spans(tags("h.hee.h")) == [2, 2, 1]


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("ab क, 12", {"Latin": 2 / 3, "Devanagari": 1 / 3}),
        ("कि", {"Devanagari": 1.0}),  # a vowel sign is of its script
        ("日本のカ", {"Han": 0.5, "Hiragana": 0.25, "Katakana": 0.25}),
        ("বই é", {"Bengali": 2 / 3, "Latin": 1 / 3}),
        ("42 !?", {}),
    ],
)
def test_scripts_are_shares_of_letters(text: str, shares: dict[str, float]) -> None:
    assert script_shares(text) == pytest.approx(shares)
