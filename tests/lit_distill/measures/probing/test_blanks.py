"""Probabilities of words at their places against one forward of the model's own for each."""

from __future__ import annotations

from typing import Any

import pytest
from asked import asked_of, classifier_of, ids_of, log_p

from lit_distill.errors import UserError
from lit_distill.measures.probing import Blank, guesses, word_log_probabilities
from lit_distill.measures.probing.blanks import Pieces

WORDS = ["she", "he", "sings", "works", "and", "un", "##kind", "kind", "##ness", "[MASKED", "heshe"]
IT = Blank.of("she [MASK] and works.")


def one(asked: Any, blank: Blank, word: str, pieces: Pieces = "refuse") -> float:
    return float(word_log_probabilities(asked, [(blank, word)], pieces)[0])


def test_a_masked_model_is_asked_at_the_mask() -> None:
    asked = asked_of(WORDS)
    ids = ids_of(asked, "[CLS]", "she", "[MASK]", "and", "works", ".", "[SEP]")
    for word in ("sings", "kind", "."):
        (target,) = ids_of(asked, word)
        assert one(asked, IT, word) == pytest.approx(log_p(asked, ids, 2, target), abs=1e-5)


def test_pieces_are_refused_or_multiplied_and_never_cut() -> None:
    asked = asked_of(WORDS)
    with pytest.raises(UserError, match=r"'unkindness' in 3 pieces \(un, ##kind, ##ness\)"):
        one(asked, IT, "unkindness")
    pieces = ids_of(asked, "un", "##kind", "##ness")
    (mask,) = ids_of(asked, "[MASK]")
    wanted = 0.0
    for number in range(3):
        hidden = [*pieces[:number], *[mask] * (3 - number)]
        ids = [
            *ids_of(asked, "[CLS]", "she"),
            *hidden,
            *ids_of(asked, "and", "works", ".", "[SEP]"),
        ]
        wanted += log_p(asked, ids, 2 + number, pieces[number])
    assert one(asked, IT, "unkindness", "multiply") == pytest.approx(wanted, abs=1e-5)


def test_a_decoder_is_asked_for_the_word_and_all_behind_it() -> None:
    asked = asked_of(WORDS, causal=True)
    ids = ids_of(asked, "[CLS]", "she", "un", "##kind", "and", "works", ".")
    wanted = sum(log_p(asked, ids, place - 1, ids[place]) for place in range(2, 7))
    assert one(asked, IT, "unkind") == pytest.approx(wanted, abs=1e-5)
    first = ids_of(asked, "[CLS]", "he", "works")  # which BOS predicts
    wanted = sum(log_p(asked, first, place - 1, first[place]) for place in (1, 2))
    assert one(asked, Blank.of("[MASK] works"), "he") == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_words_do_not_depend_on_what_is_asked_beside_them(
    causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_of(WORDS, causal)
    blanks = [Blank.of("she and " * n + "[MASK]" + " works." * m) for n in range(5) for m in (0, 3)]
    filled = [(blank, word) for blank in blanks for word in ("he", "sings", "unkind")]
    alone = [one(asked, *each, "multiply") for each in filled]
    for rows, positions in ((256, 8192), (2, 8192), (3, 20)):
        monkeypatch.setattr(guesses, "ROWS", rows)
        monkeypatch.setattr(guesses, "POSITIONS", positions)
        together = word_log_probabilities(asked, filled, "multiply")
        assert together == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize(
    ("template", "word", "message"),
    [
        ("she [MASK] works", "dances", "no token for it"),
        ("he[MASK] works", "she", "it in one token with 'he'"),
        ("she " * 40 + "[MASK]", "works", "has 41 tokens, and tiny reads 32"),
    ],
)
def test_a_word_that_cannot_be_asked_for_is_refused(template: str, word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        one(asked_of(WORDS), Blank.of(template), word)


@pytest.mark.parametrize("template", ["she works", "[MASK] and [MASK]"])
def test_a_template_has_one_place(template: str) -> None:
    with pytest.raises(UserError, match=r"write \[MASK\] once"):
        Blank.of(template)


def test_models_without_probabilities_of_words_are_refused() -> None:
    with pytest.raises(UserError, match="classifier is a BertForSequenceClassification, and prob"):
        one(classifier_of(WORDS, ["a", "b"]), IT, "sings")
    for causal, role in ((False, "mask_token"), (True, "bos_token")):
        asked = asked_of(WORDS, causal)
        asked.tokenizer.mask_token = asked.tokenizer.bos_token = asked.tokenizer.eos_token = None
        with pytest.raises(UserError, match=f"set its {role}"):
            one(asked, IT, "sings")
