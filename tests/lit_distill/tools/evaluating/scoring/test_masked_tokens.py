"""Loyalty token by token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from data_modules import MultilingualCorpus, Source
from lit_distill.errors import UserError
from lit_distill.models import LayerCopyStudent, TeacherSpec
from lit_distill.tools.comparing.compare import compare, validation_batches
from lit_distill.tools.evaluating.scoring import masked_tokens
from lit_distill.tools.evaluating.scoring.masked_tokens import MaskedTokens


@pytest.fixture
def corpus(tiny_bert: Path, text_folder: Path, tmp_path: Path) -> MultilingualCorpus:
    return MultilingualCorpus(
        [Source(files="{language}.txt")], str(text_folder), tokenizer=str(tiny_bert),
        max_length=16, batch_tokens=256, holdout=5, cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip


@pytest.fixture
def models(tiny_bert: Path, tmp_path: Path) -> dict[str, str]:
    half = LayerCopyStudent().build(TeacherSpec(str(tiny_bert)).build(), 0)
    half.model.save_pretrained(tmp_path / "half")
    return {"teacher": str(tiny_bert), "same": str(tiny_bert), "half": str(tmp_path / "half")}


def test_students_beside_their_teacher(
    corpus: MultilingualCorpus, models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masked_tokens, "_AT_ONCE", 1000)  # several pieces of a batch
    found = MaskedTokens(corpus).measure(models)
    assert set(found) == {"same", "half"}
    same, half = found["same"], found["half"]
    assert (same["label_loyalty"], same["probability_loyalty"]) == (1, 1)
    assert same.get("invented", 0) == 0  # none where the random teacher is never right
    assert same["ece"] == same["teacher_ece"] == half["teacher_ece"]
    wanted = _distances(corpus, models)
    for language, distances in wanted.items():
        loyalty = half[f"probability_loyalty/{language}"]
        assert loyalty == pytest.approx(1 - np.mean(distances), abs=1e-6)
    means = [half[f"label_loyalty/{language}"] for language in ("de", "en")]
    assert half["label_loyalty"] == pytest.approx(np.mean([mean for mean in means if mean]))
    scores = compare(models, corpus)["half"].scores
    assert half["label_loyalty/en"] == pytest.approx(scores["en"]["agreement"])


def _distances(corpus: MultilingualCorpus, models: dict[str, str]) -> dict[str, list[float]]:
    """Of whole logits by the models' own classes."""
    teacher, half = (TeacherSpec(models[name]).build().model for name in ("teacher", "half"))
    found: dict[str, list[float]] = {}
    for batch in validation_batches(corpus):
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            p, q = (own(**inputs).logits.flatten(0, 1).softmax(-1) for own in (teacher, half))
        length = batch["input_ids"].shape[1]
        for row in batch["rows"].tolist():
            language = corpus.languages[int(batch["language"][row // length])]
            distance = jensenshannon(p[row].double(), q[row].double(), base=2)
            found.setdefault(language, []).append(float(distance))
    return found


def test_the_reference_is_one_of_the_models(
    corpus: MultilingualCorpus, models: dict[str, str]
) -> None:
    with pytest.raises(UserError, match=r"reference is 'big', and the models are teacher, same"):
        MaskedTokens(corpus, reference="big").measure(models)
