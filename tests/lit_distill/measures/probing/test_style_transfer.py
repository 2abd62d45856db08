"""The joint score is a mean of products, and every judge is asked about the right text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from asked import asked_of, classifier_of, saved
from sacrebleu.metrics.chrf import CHRF

from lit_distill.errors import UserError
from lit_distill.measures.probing import Asked, Judge, StyleTransferScores, Writing, vectors
from lit_distill.measures.probing.sentences import label_probabilities
from lit_distill.measures.probing.style_transfer import style_transfer_metrics
from lit_distill.measures.probing.written import written
from lit_distill.models import Sampling

WORDS = ["she", "sings", "works", "and", "he", "rudely"]
SHORT = Writing(Sampling(max_new_tokens=5, temperature=0.0))


def test_the_joint_score_is_a_mean_of_products() -> None:
    """A polite text about something else and a rude copy: neither does what is asked."""
    style, meaning, fluency = np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([1.0, 1.0])
    found = style_transfer_metrics(style, meaning, fluency)
    assert found == {"joint": 0.0, "style": 0.5, "meaning": 0.5, "fluency": 1.0}
    assert found["style"] * found["meaning"] * found["fluency"] == 0.25
    negative = style_transfer_metrics(np.ones(1), np.array([-0.5]), np.ones(1))
    assert negative["joint"] == negative["meaning"] == 0.0


def test_texts_of_a_model_are_judged(tmp_path: Path) -> None:
    rows = [
        {"source": "she sings rudely", "polite": "she sings"},
        {"source": "he works rudely and", "polite": "he works"},
        {"source": "he sings", "polite": "not read"},
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    writer = asked_of(WORDS, causal=True, seed=2)
    style, fluent = (classifier_of(WORDS, ["no", "yes"], seed) for seed in (1, 5))
    encoder = asked_of(WORDS)
    folders = {
        name: saved(asked, tmp_path / name)
        for name, asked in (("s", style), ("f", fluent), ("e", encoder), ("writer", writer))
    }
    probe = StyleTransferScores(
        str(file), Judge(folders["s"], "yes"), folders["e"], Judge(folders["f"], "yes"),
        reference="polite", prompt="{source} and", writing=SHORT, at_most=2,
    )  # fmt: skip
    found = probe.measure({"student": folders["writer"]})["student"]
    sources = [row["source"] for row in rows[:2]]
    texts = written(Asked.opened(folders["writer"]), [f"{source} and" for source in sources], SHORT)
    assert all(texts)
    judged = [label_probabilities(judge, texts, 99).argmax(-1) for judge in (style, fluent)]
    cosines = (vectors(encoder, texts, "mean", 99) * vectors(encoder, sources, "mean", 99)).sum(-1)
    wanted = style_transfer_metrics(judged[0] * 1.0, cosines, judged[1] * 1.0)
    wanted["chrf"] = CHRF().corpus_score(texts, [[row["polite"] for row in rows[:2]]]).score
    assert found == pytest.approx(wanted)


def test_bad_input_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"source": "she"}\n{"source": " "}\n')
    judge = Judge("nowhere", "yes")
    with pytest.raises(UserError, match=r"needs \{source\}"):
        StyleTransferScores(str(file), judge, "nowhere", judge, prompt="Say it politely")
    with pytest.raises(UserError, match=r"'source' of .* has rows without a text"):
        StyleTransferScores(str(file), judge, "nowhere", judge).of(asked_of(WORDS, causal=True))
