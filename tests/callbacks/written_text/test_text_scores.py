"""Scores of written text, against hand counts, the definitions, and in every script."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from callbacks.written_text.text_scores import (
    Scored,
    distinct,
    of_one,
    repetition,
    rouge_of,
    same,
    scores,
    words,
)


def scored(text: str, reference: str | None, tokens: list[int] = [1], ended: bool = True) -> Scored:  # noqa: B006
    return Scored(text, reference, tokens, ended)


def chrf(texts: list[tuple[str, str]]) -> float:
    """chrF2 of Popović, 2015: F2 of mean precision and recall of n-grams up to 6, over a corpus."""
    scores = []
    for n in range(1, 7):
        hits = made = wanted = 0
        for text, reference in texts:
            ours, theirs = (
                Counter(bare[i : i + n] for i in range(len(bare) - n + 1))
                for bare in (text.replace(" ", ""), reference.replace(" ", ""))
            )
            hits += (ours & theirs).total()
            made, wanted = made + ours.total(), wanted + theirs.total()
        scores.append((hits / made, hits / wanted))
    precision = sum(p for p, _ in scores) / 6
    load_method_state = sum(r for _, r in scores) / 6
    return 100 * 5 * precision * load_method_state / (4 * precision + load_method_state)


TEXTS = [("the old river runs", "the old river ran dry"), ("नदी पुरानी है", "नदी बहुत पुरानी है")]


def test_chrf_is_its_definition() -> None:
    found = scores([scored(*pair) for pair in TEXTS])
    assert found.chrf == pytest.approx(chrf(TEXTS), abs=1e-9)
    assert of_one(scored(*TEXTS[1]))["chrf"] == pytest.approx(chrf(TEXTS[1:]), abs=1e-9)


def test_bleu_is_its_definition() -> None:
    pair = ("the old grey river runs past houses", "the old grey river runs by the houses")
    ours, theirs = (text.split() for text in pair)
    logs = []
    for n in range(1, 5):
        a, b = (Counter(zip(*(t[i:] for i in range(n)), strict=False)) for t in (ours, theirs))
        logs.append(math.log((a & b).total() / a.total()))
    penalty = math.exp(1 - len(theirs) / len(ours))
    expected = 100 * penalty * math.exp(sum(logs) / 4)
    assert scores([scored(*pair)]).bleu == pytest.approx(expected, abs=1e-9)


def test_rouge_counts_words_of_every_script() -> None:
    found = rouge_of("नदी पुरानी है।", "नदी बहुत पुरानी है")
    assert found["rouge1"] == pytest.approx(2 * 1 * 0.75 / 1.75)
    assert found["rouge2"] == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    assert found["rougeL"] == pytest.approx(2 * 1 * 0.75 / 1.75)
    assert rouge_of("b a", "a b")["rougeL"] == pytest.approx(0.5)
    assert rouge_of("", "a")["rougeL"] == 0
    assert words("¿Qué? «Ça va», it's 3.5!") == ["qué", "ça", "va", "it's", "3.5"]


TEN = {
    "zh": ("我们今天去北京看朋友", "我们今天去南京看朋友"),
    "ja": ("私は昨日東京で本買う", "私は昨日東都で本買う"),
    "th": ("กขคงจฉชซญด", "กขคงจฉชซญต"),
    "lo": ("ກຂຄງຈຊຍດຕຖ", "ກຂຄງຈຊຍດຕທ"),
    "km": ("កខគឃងចឆជឈញ", "កខគឃងចឆជឈដ"),
    "my": ("ကခဂဃငစဆဇညတ", "ကခဂဃငစဆဇညထ"),
}


@pytest.mark.parametrize("language", TEN)
def test_rouge_counts_characters_where_there_are_no_spaces(language: str) -> None:
    """It was 0 for zh, ja, th and km where 9 of 10 characters agree."""
    found = rouge_of(*TEN[language])
    assert found["rouge1"] == pytest.approx(0.9)
    assert found["rougeL"] == pytest.approx(0.9)
    assert found["rouge2"] == pytest.approx((7 if language in ("zh", "ja") else 8) / 9)


def test_words_of_scripts_side_by_side() -> None:
    assert words("我用Python3写「代码」。 It's A test") == [
        *("我", "用", "python3", "写", "代", "码", "it's", "a", "test")
    ]
    assert words("ที่นี่") == ["ที่", "นี่"]  # marks stay with their character
    assert words("nobody's 한국어 text, नदी है।") == ["nobody's", "한국어", "text", "नदी", "है"]
    assert words("テスト・コード。") == list("テストコード")


def test_equal_texts() -> None:
    assert same("a  b\n", " a b")
    assert same("u\u0308ber", "\u00fcber")
    assert not same("a b", "a B")


def test_variety_by_hand() -> None:
    assert distinct([[1, 1, 2], [2, 1]], 1) == 2 / 5
    assert distinct([[1, 1, 2], [2, 1]], 2) == 1.0
    assert distinct([[], [3]], 2) == 0
    assert repetition([1, 2, 3]) == 0
    assert repetition([5] * 8) == pytest.approx(4 / 5)
    assert repetition([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)


def test_scores_of_a_language() -> None:
    found = scores([scored("a", "a", [1, 2]), scored("b", "c", [1, 1, 1], ended=False)])
    assert (found.texts, found.exact_match, found.eos_rate) == (2, 0.5, 0.5)
    assert found.length == 3.0  # 2 and the ending token; 3 that were cut
    blind = scores([scored("a", None)])
    assert blind.exact_match is blind.chrf is blind.rouge_l is None
    assert set(of_one(scored("a", None))) == {"repetition"}
    empty = scores([scored("", "a", [])])
    assert (empty.chrf, empty.bleu, empty.exact_match, empty.length) == (0, 0, 0, 1)


def test_means_of_single_scores_are_the_languages() -> None:
    texts = [scored(a, b, [1, 2, 3, 4] * 2) for a, b in [*TEXTS, ("x", "x")]]
    found, each = scores(texts), [of_one(text) for text in texts]
    for name in ("exact_match", "rouge_l", "repetition"):
        mean = sum(one[name] for one in each) / len(each)
        assert getattr(found, name) == pytest.approx(mean)
