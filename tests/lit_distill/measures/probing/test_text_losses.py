"""Losses of whole texts against one forward for every token."""

from __future__ import annotations

import logging

import pytest
import torch
from asked import asked_of, ids_of, log_p

from lit_distill.measures.probing import text_losses

WORDS = ["she", "sings", "works", "and", "un", "##kind"]
TEXTS = ["she sings and works.", "unkind", "she works and works and works and sings."]


def test_every_token_is_hidden_in_turn() -> None:
    asked = asked_of(WORDS)
    losses, tokens = text_losses(asked, TEXTS, 32)
    (mask,) = ids_of(asked, "[MASK]")
    for text, loss, count in zip(TEXTS, losses, tokens, strict=True):
        ids = asked.tokenizer(text)["input_ids"]
        hidden = [[*ids[:n], mask, *ids[n + 1 :]] for n in range(1, len(ids) - 1)]
        wanted = [log_p(asked, own, n, ids[n]) for n, own in enumerate(hidden, 1)]
        assert loss == pytest.approx(-sum(wanted), abs=1e-4)
        assert count == len(wanted)


def test_decoders_read_once_and_their_first_token_counts() -> None:
    asked = asked_of(WORDS, causal=True)
    losses, tokens = text_losses(asked, TEXTS, 32)
    for text, loss, count in zip(TEXTS, losses, tokens, strict=True):
        ids = [2, *asked.encoded([text])[0].ids]
        labels = torch.tensor([ids])
        with torch.no_grad():
            wanted = asked.model.model(input_ids=labels, labels=labels).loss
        assert count == len(ids) - 1
        assert loss / count == pytest.approx(wanted.item(), abs=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_a_long_text_is_read_in_parts_and_whole(causal: bool) -> None:
    asked = asked_of(WORDS, causal)
    words = ["she", "sings", "and", "works", "she", "works", "unkind"]
    (whole,), (tokens,) = text_losses(asked, [" ".join(words)], 6 - causal)
    parts, counts = text_losses(asked, [" ".join(words[:4]), " ".join(words[4:])], 32)
    assert tokens == counts.sum() == 8
    assert whole == pytest.approx(parts.sum(), abs=1e-4)


def test_unknown_tokens_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        text_losses(asked_of(WORDS), ["she sings"], 32)
        assert not caplog.records
        text_losses(asked_of(WORDS), ["she dances"], 32)
    assert "50.0 % of the tokens are unknown to tiny" in caplog.text
