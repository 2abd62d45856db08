"""Vectors and label probabilities of texts against the model's own forward, one by one."""

from __future__ import annotations

import pytest
import torch
from asked import asked_of, classifier_of

from lit_distill.errors import UserError
from lit_distill.measures.probing import guesses, vectors
from lit_distill.measures.probing.sentences import Pooling, label_number, label_probabilities

WORDS = ["she", "sings", "works", "and"]
TEXTS = ["she sings", "she works and sings and works", "she sings", "works"]


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
@pytest.mark.parametrize("causal", [False, True])
def test_texts_have_the_vectors_that_they_have_alone(
    causal: bool, pooling: Pooling, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_of(WORDS, causal)
    monkeypatch.setattr(guesses, "POSITIONS", 17)
    found = vectors(asked, TEXTS, pooling, 32)
    for text, vector in zip(TEXTS, found, strict=True):
        ids = torch.tensor([asked.framed(asked.encoded([text])[0].ids)])
        with torch.no_grad():
            states = asked.model.model.base_model(input_ids=ids).last_hidden_state[0].double()
        wanted = {"mean": states.mean(0), "first": states[0], "last": states[-1]}[pooling]
        assert vector == pytest.approx((wanted / wanted.norm()).numpy(), abs=1e-5)


def test_a_classifier_gives_probabilities_of_its_labels() -> None:
    asked = classifier_of(WORDS, ["bad", "fair", "good"])
    found = label_probabilities(asked, TEXTS, 32)
    for text, row in zip(TEXTS, found, strict=True):
        ids = asked.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            wanted = asked.model.model(input_ids=ids).logits[0].double().softmax(-1)
        assert row == pytest.approx(wanted.numpy(), abs=1e-6)
    assert label_number(asked, "good") == 2


def test_what_has_no_labels_is_refused() -> None:
    with pytest.raises(UserError, match="tiny is a BertForMaskedLM with no labels"):
        label_probabilities(asked_of(WORDS), TEXTS, 32)
    with pytest.raises(UserError, match="no label 'toxic'; it has bad, good"):
        label_number(classifier_of(WORDS, ["bad", "good"]), "toxic")
    with pytest.raises(UserError, match="2 positions leave no room"):
        vectors(asked_of(WORDS), TEXTS, "mean", 2)
