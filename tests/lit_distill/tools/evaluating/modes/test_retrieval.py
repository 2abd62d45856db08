"""Translations among all candidates: directions, relevance, cosines, and which rows are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import asked_of, saved

from data_modules import LabelledCorpus, ParallelCorpus, ParallelSource
from lit_distill.errors import UserError
from lit_distill.measures.probing import vectors
from lit_distill.tools.evaluating.cells.mode import Question
from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions
from lit_distill.tools.evaluating.modes import CrossLingualRetrieval

WORDS = ["one", "two", "three", "four", "eins", "zwei", "drei", "vier", "query", ":"]
EN = ["one", "two two", "three", "three", "four"]
DE = ["eins", "zwei zwei", "drei", "drei drei", "vier"]  # "three" has two translations


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for language, lines in (("en", EN), ("de", DE)):
        (tmp_path / f"p.{language}.txt").write_text("\n".join(lines) + "\n")
    asked = asked_of(WORDS)
    asked.model.model.base_model.save_pretrained(tmp_path / "body")
    asked.tokenizer.save_pretrained(tmp_path / "body")
    saved(asked, tmp_path / "bert")
    return tmp_path


def asked_about(folder: Path, model: str = "body", **options: Any) -> Predictions:
    data = ParallelCorpus(
        [ParallelSource("p.{language}.txt")], data_dir=str(folder), cache_dir=str(folder / "cache"),
        holdout=options.pop("holdout", 50), src_languages=["de"], tgt_languages=["en"],
    )  # fmt: skip
    mode = CrossLingualRetrieval(**{"whole": True, **options})
    return mode.predict(Question(str(folder / model), data, 0, folder))


def test_every_text_asks_for_all_of_the_other_language(folder: Path) -> None:
    found = asked_about(folder)
    assert (found.kind, found.languages) == (Kind.RANKING, ["de>en", "en>de"])
    assert len(found.starts) == 5 + 4
    there, back = found.of("de>en"), found.of("en>de")
    assert there.targets.reshape(5, 4).tolist() == np.eye(4)[[0, 1, 2, 2, 3]].tolist()
    assert back.targets.reshape(4, 5).tolist() == np.eye(4)[[0, 1, 2, 2, 3]].T.tolist()
    asked = asked_of(WORDS)
    english, german = (
        vectors(asked, t, "mean", 32) for t in (["one", "two two", "three", "four"], DE)
    )
    assert there.scores.reshape(5, 4) == pytest.approx(german @ english.T, abs=1e-5)
    assert back.scores.reshape(4, 5) == pytest.approx(english @ german.T, abs=1e-5)


def test_models_with_a_head_give_the_same_states(folder: Path) -> None:
    assert asked_about(folder, "bert").scores == pytest.approx(asked_about(folder).scores, abs=1e-5)


def test_a_prefix_and_a_pooling_are_read(folder: Path) -> None:
    found = asked_about(folder, prefix="query: ", pooling="first")
    asked = asked_of(WORDS)
    one, eins = vectors(asked, ["query: one", "query: eins"], "first", 32)
    assert found.scores[0, 0] == pytest.approx(one @ eins, abs=1e-5)


def test_rows_are_those_held_out_unless_all_are_wanted(folder: Path) -> None:
    held = asked_about(folder, whole=False, holdout=2)
    whole = asked_about(folder)
    assert 0 < len(held.starts) < len(whole.starts)
    assert {*held.examples} < {*whole.examples}
    few = asked_about(folder, at_most=2)
    assert few.targets.tolist() == [1, 0, 0, 1] * 2


def test_data_without_pairs_is_refused(folder: Path) -> None:
    data = LabelledCorpus([], data_dir=str(folder))
    with pytest.raises(UserError, match="A LabelledCorpus has no pairs of texts"):
        CrossLingualRetrieval().predict(Question(str(folder / "body"), data, 0, folder))
    with pytest.raises(UserError, match=r"No pairs .* de>en, en>de: .* \(whole: true\)"):
        asked_about(folder, whole=False, holdout=10**6)
