"""A trained classifier is asked as it is, and its probabilities rank candidates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from labelled import LABELS, classifier, write
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from data_modules import LabelledCorpus, LabelledSource
from lit_distill.errors import UserError
from lit_distill.tools.evaluating.cells.mode import Question
from lit_distill.tools.evaluating.cells.predictions import Kind
from lit_distill.tools.evaluating.modes.as_trained import AsTrained
from lit_distill.tools.evaluating.scoring.rankings import by_query

QUERIES = ["the river", "a cat", "children read"]
CANDIDATES = ["books", "the cat sleep", "a long river daily", "cats and books"]


@pytest.fixture
def pairs(tmp_path: Path) -> LabelledCorpus:
    """The same three queries in two languages, whose candidates do not stand side by side."""
    for language in ("aa", "bb"):
        rows = [
            {"text": query, "other": f"{candidate} {language}", "label": LABELS[(q + c) % 3]}
            for c, candidate in enumerate(CANDIDATES)
            for q, query in enumerate(QUERIES)
        ]
        others = [{**row, "other": f"{row['other']} sleep"} for row in rows]
        write(tmp_path / f"{language}.jsonl", others)
        write(tmp_path / f"{language}.test.jsonl", rows)
    files = {"files": "{language}.jsonl", "test": "{language}.test.jsonl", "second": "other"}
    return LabelledCorpus(
        [LabelledSource(languages=["aa", "bb"], **files)], str(tmp_path),
        max_length=24, batch_tokens=128, holdout=3, cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip


def probabilities(folder: Path, first: str, second: str) -> dict[str, float]:
    """Of each label, by plain Transformers."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = AutoTokenizer.from_pretrained(folder)(first, second, return_tensors="pt")
    with torch.no_grad():
        values = model(**inputs).logits.double().log_softmax(-1)[0].tolist()
    return {model.config.id2label[number]: value for number, value in enumerate(values)}


def test_a_classifier_says_what_it_says_by_itself(
    pairs: LabelledCorpus, tiny_bert: Path, tmp_path: Path
) -> None:
    """In the order of the data's labels, which is not the model's."""
    folder = classifier(tiny_bert, tmp_path / "model", LABELS[::-1])
    found = AsTrained().predict(Question(str(folder), pairs, 1, tmp_path))
    assert found.kind is Kind.CLASSES
    assert list(found.labels) == LABELS
    assert len(found) == 24
    expected = [
        [probabilities(folder, query, f"{candidate} {language}")[name] for name in LABELS]
        for language in ("aa", "bb")
        for candidate in CANDIDATES
        for query in QUERIES
    ]
    assert np.allclose(sorted(found.scores.tolist()), sorted(expected), atol=1e-4)


def test_candidates_are_ranked_by_query_and_language(
    pairs: LabelledCorpus, tiny_bert: Path, tmp_path: Path
) -> None:
    folder = classifier(tiny_bert, tmp_path / "model", LABELS[::-1])
    found = AsTrained(ranks_by="good").predict(Question(str(folder), pairs, 1, tmp_path))
    assert (found.kind, len(found.starts)) == (Kind.RANKING, 6)
    assert np.diff([*found.starts, 24]).tolist() == [4] * 6
    assert all(len({*part}) == 1 for part in np.split(found.language, found.starts[1:]))
    expected = []
    for language in ("aa", "bb"):
        for q, query in enumerate(QUERIES):
            scored = [
                (probabilities(folder, query, f"{one} {language}")["good"], (q + c) % 3 == 2)
                for c, one in enumerate(CANDIDATES)
            ]
            relevant = [right for _, right in sorted(scored, reverse=True)]
            expected.append(1 / (1 + relevant.index(True)) if True in relevant else 0.0)
    assert sorted(by_query(found, "mrr")) == pytest.approx(sorted(expected))
    assert 0 < sum(expected) < 6


def test_what_cannot_be_asked_so(pairs: LabelledCorpus, tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ranks_by is 'best', and the labels .* bad, fair, good"):
        AsTrained(ranks_by="best").check(str(tiny_bert), pairs)
    with pytest.raises(UserError, match=r"asks a model by its own head, and .* predicts"):
        AsTrained().predict(Question(str(tiny_bert), pairs, 1, tmp_path))
