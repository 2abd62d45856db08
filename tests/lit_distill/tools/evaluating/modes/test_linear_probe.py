"""Probes of frozen states: separable labels are found, random ones are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from conftest import WORDS
from labelled import write
from transformers import AutoModel, AutoTokenizer

from data_modules import LabelledCorpus, LabelledSource
from data_modules.tasks.rows import LabelledText
from lit_distill.errors import UserError
from lit_distill.models import TeacherSpec, load_tokenizer
from lit_distill.tools.evaluating.cells.mode import Question
from lit_distill.tools.evaluating.cells.predictions import Predictions
from lit_distill.tools.evaluating.modes.linear_probe import Classifier, LinearProbe

TEXTS = ["the river", "a cat and children read long books daily the a river", "cats sleep"]


def states(probe: LinearProbe, folder: Path, texts: list[str]) -> Any:
    rows = [LabelledText(text, None, "x") for text in texts]
    model, tokenizer = TeacherSpec(str(folder)).build(needs_head=False), load_tokenizer(str(folder))
    tokenizer.model_max_length = 16
    return probe._states(model, tokenizer, rows)


@pytest.mark.parametrize("pooling", ["first", "mean", "last"])
def test_vectors_are_those_of_each_text_alone(tiny_bert: Path, pooling: Any) -> None:
    found = states(LinearProbe(pooling=pooling, prefix="and "), tiny_bert, TEXTS)
    plain, tokenizer = (
        AutoModel.from_pretrained(tiny_bert),
        AutoTokenizer.from_pretrained(tiny_bert),
    )
    for text, vector in zip(TEXTS, found, strict=True):
        inputs = tokenizer("and " + text, truncation=True, max_length=16, return_tensors="pt")
        with torch.no_grad():
            hidden = plain.eval()(**inputs).last_hidden_state[0].numpy()
        wanted = {"first": hidden[0], "mean": hidden.mean(0), "last": hidden[-1]}[pooling]
        assert np.allclose(vector, wanted, atol=1e-5)


def test_a_layer_by_number(tiny_bert: Path) -> None:
    found = states(LinearProbe(layer=1, pooling="first"), tiny_bert, TEXTS)
    plain, tokenizer = (
        AutoModel.from_pretrained(tiny_bert),
        AutoTokenizer.from_pretrained(tiny_bert),
    )
    inputs = tokenizer(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        layers = plain.eval()(**inputs, output_hidden_states=True).hidden_states
    assert np.allclose(found[0], layers[2][0, 0].numpy(), atol=1e-5)


def corpus_of(folder: Path, random_labels: bool) -> LabelledCorpus:
    """English is one label and German the other; or labels are drawn."""
    draw = np.random.default_rng(0)
    for part, seed in (("train", 0), ("test", 1)):
        rows = []
        for language, words in WORDS.items():
            for number in range(60):
                picked = np.random.default_rng([seed, number]).choice(words.split(), 5)
                label = str(draw.choice(["a", "b"])) if random_labels else language
                rows.append({"text": " ".join(picked), "label": label})
        write(folder / f"{part}.jsonl", rows)
    source = LabelledSource(language="x", files="train.jsonl", test="test.jsonl")
    return LabelledCorpus(
        [source], str(folder), max_length=16, cache_dir=str(folder / "cache"), deduplicate=False
    )


def accuracy(found: Predictions) -> float:
    return float((found.chosen == found.targets).mean())


@pytest.mark.parametrize("classifier", get_args(Classifier))
def test_separable_labels_are_found(classifier: Any, tiny_bert: Path, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, random_labels=False)
    question = Question(str(tiny_bert), corpus, 1, tmp_path)
    found = LinearProbe(classifier=classifier).predict(question)
    assert accuracy(found) > 0.9  # 0.95 was once just met: machines round differently
    assert np.allclose(np.exp(found.scores).sum(1), 1, atol=1e-4)


def test_random_labels_are_not_found(tiny_bert: Path, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, random_labels=True)
    found = LinearProbe().predict(Question(str(tiny_bert), corpus, 1, tmp_path))
    assert 0.3 < accuracy(found) < 0.7


def test_what_cannot_be_probed(tiny_bert: Path, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, random_labels=False)
    with pytest.raises(UserError, match=r"layer is 4, and .* has layers 0 to 3"):
        LinearProbe(layer=4).predict(Question(str(tiny_bert), corpus, 1, tmp_path))
