"""Surrogates of similarity and identity: their ends, their parts, and the control beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from asked import asked_of, saved
from sacrebleu.metrics.chrf import CHRF

from lit_distill.errors import UserError
from lit_distill.measures.probing import Fact, IdentityProbe, ResponseSimilarity, Writing
from lit_distill.measures.probing.asked import Asked
from lit_distill.measures.probing.responses import _shared, identity_scores, similarity, skeleton
from lit_distill.measures.probing.written import written
from lit_distill.models import Sampling

WORDS = ["she", "sings", "works", "and", "he"]
PROMPTS = ["she sings", "he works and"]
SHORT = Writing(Sampling(max_new_tokens=16, temperature=1.0))  # of equal models, the same


def test_a_text_is_like_itself_in_every_way() -> None:
    texts = ["# One\n\n- a\n- b\n\nShe sings. Does he?", "", "x"]
    assert similarity(texts, texts) == {"content": 1.0, "structure": 1.0, "style": 1.0}


def test_each_part_sees_what_the_others_do_not() -> None:
    listed, plain = "- she sings\n- he works", "She sings. He works!"
    found = similarity([listed], [plain])
    assert found["structure"] == 0.0
    assert found["content"] == pytest.approx(CHRF().sentence_score(listed, [plain]).score / 100)
    other = similarity(["- we run\n- they jump"], [listed])
    assert other["structure"] == 1.0
    assert other["content"] < 0.3


def test_a_skeleton_has_lines_sentences_and_code() -> None:
    text = "# Head\nOne. Two? Three\n\n* a\n1. b\n> q\n| t |\n```\nx. y.\n# no\n```\nlast"
    assert skeleton(text) == [
        *("heading", "sentence .", "sentence ?", "blank", "bullet", "number", "quote", "table"),
        *("code", "sentence"),
    ]


def test_distributions_share_what_jensen_and_shannon_say() -> None:
    from collections import Counter

    assert _shared(Counter("ab"), Counter("ab")) == 1.0
    assert _shared(Counter("a"), Counter("b")) == pytest.approx(0.0)  # base 2: at most 1
    half = 0.5 * np.log2(1 / 0.75) + 0.5 * (0.5 * np.log2(0.5 / 0.75) + 0.5 * np.log2(0.5 / 0.25))
    assert _shared(Counter("aa"), Counter("ab")) == pytest.approx(1 - np.sqrt(half))
    assert _shared(Counter(), Counter("a")) == 0.0


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place = tmp_path_factory.mktemp("writers")
    seeds = {"teacher": 0, "student": 0, "control": 3}
    return {n: saved(asked_of(WORDS, True, seed), place / n) for n, seed in seeds.items()}


def test_models_stand_between_the_reference_and_the_control(folders: dict[str, str]) -> None:
    found = ResponseSimilarity(PROMPTS, writing=SHORT).measure(folders)
    assert {*found} == {*folders}
    for name in ("content", "structure", "style"):
        assert found["teacher"][name] == found["student"][name] == 1.0
        assert found["control"][f"{name}_above_control"] == 0.0
    texts = {n: written(Asked.opened(path), PROMPTS, SHORT) for n, path in folders.items()}
    assert texts["control"] != texts["teacher"]
    zero = similarity(texts["control"], texts["teacher"])
    assert found["control"]["content"] == zero["content"]
    assert 0 < zero["content"] < 1
    assert found["student"]["content_above_control"] == pytest.approx(1 - zero["content"])


def test_an_embedder_compares_what_texts_mean(folders: dict[str, str], tmp_path: Path) -> None:
    encoder = saved(asked_of(WORDS), tmp_path / "encoder")
    found = ResponseSimilarity(PROMPTS, writing=SHORT, embedder=encoder).measure(folders)
    assert found["student"]["content_embedding"] == pytest.approx(1.0)
    assert found["control"]["content_embedding"] < 0.9999


def test_there_is_no_similarity_without_a_control(folders: dict[str, str]) -> None:
    for roles, message in (
        ({"control": "nobody"}, "control is 'nobody'"),
        ({"reference": "gpt"}, "reference is 'gpt'"),
        ({"control": "teacher"}, "another one that learnt nothing"),
    ):
        with pytest.raises(UserError, match=message):
            ResponseSimilarity(PROMPTS, writing=SHORT, **roles).measure(folders)
    with pytest.raises(UserError, match="needs prompts"):
        ResponseSimilarity([])


FACTS = {"maker": Fact(["Acme"], ["Other Labs", "Umbra"]), "place": Fact(["Bonn"], ["Paris"])}


def test_answers_contradict_facts_by_their_strings() -> None:
    answers = [
        "I was made by ACME in Bonn.",
        "other labs made me.",
        "Acme made me, in Paris, and not Umbra.",
        "The penumbra of parisian nights.",  # no whole words of it
    ]
    assert identity_scores(answers, FACTS) == {
        "contradictions": 0.5,
        "stated": 0.5,
        "maker/contradictions": 0.5,
        "maker/stated": 0.5,
        "place/contradictions": 0.25,
        "place/stated": 0.25,
    }


def test_a_model_is_asked_who_it_is(folders: dict[str, str]) -> None:
    texts = {n: written(Asked.opened(path), PROMPTS, SHORT) for n, path in folders.items()}
    said = ((n, w) for n, own in texts.items() for text in own for w in text.split() if w in WORDS)
    name, word = next(said)
    answers = texts[name]
    share = np.mean([word in answer.split() for answer in answers])
    probe = IdentityProbe({"word": Fact([], [word])}, PROMPTS, SHORT)
    assert probe.measure(folders)[name] == {
        "contradictions": share,
        "stated": 0.0,
        "word/contradictions": share,
        "word/stated": 0.0,
    }


def test_empty_facts_and_models_that_cannot_write_are_refused() -> None:
    for facts in ({}, {"maker": Fact([], [" "])}):
        with pytest.raises(UserError, match="strings are not empty"):
            IdentityProbe(facts, PROMPTS)
    with pytest.raises(UserError, match="tiny is a BertForMaskedLM"):
        IdentityProbe(FACTS, PROMPTS, SHORT).of(asked_of(WORDS))
    with pytest.raises(UserError, match="prompt is empty"):
        IdentityProbe(FACTS, [" "], SHORT).of(asked_of(WORDS, causal=True))
