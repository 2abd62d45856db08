"""AUCs of groups against counted pairs, and what each of them is blind to."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import classifier_of, saved

from lit_distill.errors import UserError
from lit_distill.measures.probing import SubgroupAUC
from lit_distill.measures.probing.sentences import label_probabilities
from lit_distill.measures.probing.subgroups import KINDS, bias_metrics, power_means

DRAW = np.random.default_rng(0)


def counted(scores: Any, positive: Any, negative: Any) -> float:
    """The share of pairs in order, ties counting half."""
    pairs = itertools.product(scores[positive], scores[negative])
    return float(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs]))


def test_areas_are_shares_of_pairs() -> None:
    for _ in range(20):
        scores = DRAW.integers(0, 6, 60) / 5  # with many ties
        labels, inside = DRAW.random(60) < 0.5, DRAW.random(60) < 0.4
        found = bias_metrics(scores, labels, {"g": inside})
        wanted = (
            counted(scores, labels & inside, ~labels & inside),
            counted(scores, labels & ~inside, ~labels & inside),
            counted(scores, labels & inside, ~labels & ~inside),
        )
        assert [found[f"g/{kind}"] for kind in KINDS] == pytest.approx(wanted)
        assert [found[kind] for kind in KINDS] == pytest.approx(wanted)  # of one group
        overall = counted(scores, labels, ~labels)
        assert found["auc"] == pytest.approx(overall)
        assert found["combined"] == pytest.approx(0.25 * (overall + sum(wanted)))


def test_the_power_mean_looks_at_the_worst_group() -> None:
    (mean,) = power_means([[0.9], [0.9], [0.6]], -5.0)
    assert mean == pytest.approx(0.7133, abs=5e-5)
    assert power_means([[0.8, 0.7]] * 3, -5.0) == pytest.approx([0.8, 0.7])
    assert power_means([[0.0], [1.0]], -5.0) == [0.0]


def test_scores_that_rise_with_the_group_lower_bpsn_alone() -> None:
    labels, inside = np.arange(400) % 2 == 0, np.arange(400) // 2 % 2 == 0
    scores = labels + DRAW.normal(0, 0.5, 400)
    fair = bias_metrics(scores, labels, {"g": inside})
    raised = bias_metrics(scores + 0.8 * inside, labels, {"g": inside})
    assert raised["g/subgroup_auc"] == fair["g/subgroup_auc"]
    assert raised["g/bpsn_auc"] < fair["g/bpsn_auc"] - 0.1
    assert raised["g/bnsp_auc"] > fair["g/bnsp_auc"]


def test_groups_of_one_class_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.arange(40) % 2 == 0
    groups = {
        "good": np.arange(40) < 20,
        "one": labels & (np.arange(40) < 9),
        "none": labels & ~labels,
    }
    scores = DRAW.random(40)
    with caplog.at_level(logging.WARNING):
        found = bias_metrics(scores, labels, groups)
    assert found["groups_left_out"] == 2
    assert "one, none" in caplog.text
    alone = bias_metrics(scores, labels, {"good": groups["good"]})
    assert found == alone | {"groups_left_out": 2}
    with pytest.raises(UserError, match=r"No group .* \(one\)"):
        bias_metrics(scores, labels, {"one": groups["one"]})
    with pytest.raises(UserError, match="All texts have one class"):
        bias_metrics(scores, labels | True, {"good": groups["good"]})


WORDS = ["she", "sings", "works", "and"]


def table(folder: Path, **more: Any) -> str:
    draw = np.random.default_rng(1)
    rows = [
        {
            "comment": " ".join(draw.choice(WORDS, 5)),
            "toxic": [None, 0.2, 0.5, 0.9][number % 3 + 1],
            "women": [1.0, None, 0.4, 0.6][number % 4],
            **more,
        }
        for number in range(60)
    ]
    path = folder / "texts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_a_classifier_is_scored_on_a_table(tmp_path: Path) -> None:
    probe = SubgroupAUC(table(tmp_path), ["women"], "bad", text="comment", label="toxic")
    asked = classifier_of(WORDS, ["good", "bad"])
    (found,) = probe.measure({"student": saved(asked, tmp_path / "model")}).values()
    rows = [json.loads(line) for line in Path(probe.file).read_text().splitlines()]
    scores = label_probabilities(asked, [row["comment"] for row in rows], 128)[:, 1]
    labels = np.array([row["toxic"] >= 0.5 for row in rows])
    inside = np.array([(row["women"] or 0) >= 0.5 for row in rows])
    assert found == pytest.approx(bias_metrics(scores, labels, {"women": inside}))


def test_what_cannot_be_scored_is_refused(tmp_path: Path) -> None:
    asked, path = classifier_of(WORDS, ["good", "bad"]), table(tmp_path, words="x")
    for options, message in (
        ({"groups": ["men"]}, "no column 'men'; it has comment, toxic, women, words"),
        ({"groups": ["words"]}, "'words' holds texts"),
        ({"positive": "toxic"}, "no label 'toxic'"),
        ({"file": "texts.txt"}, "no table"),
        ({"file": str(tmp_path / "none.csv")}, "cannot be read"),
    ):
        given = {"file": path, "groups": ["women"], "positive": "bad", **options}
        with pytest.raises(UserError, match=message):
            SubgroupAUC(**given, text="comment", label="toxic").of(asked)
    with pytest.raises(UserError, match="one column at least"):
        SubgroupAUC(path, [], "bad")
