"""All cells of an evaluation: what is paired, what is left out, what is broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluated import TAGS, cell, certain, predictions, right_share

from lit_distill.measures import fidelity
from lit_distill.tools.evaluating.cells.predictions import Kind
from lit_distill.tools.evaluating.scoring.loyalty import loyalty
from lit_distill.tools.evaluating.scoring.pairing import paired
from lit_distill.tools.evaluating.scoring.retention import Roles
from lit_distill.tools.evaluating.scoring.score import score

ROLES = Roles("teacher", "control")


def test_cells_are_scored_by_language_and_task() -> None:
    first = right_share(0.9, 120)
    halves = replace(first, languages=("en", "hi"), language=np.repeat([0, 1], 60))
    worse = right_share(0.7, 120, seed=1)
    worse = replace(worse, languages=("en", "hi"), language=halves.language)
    cells = [cell("teacher", "topic", halves), cell("student", "topic", worse)]
    found = score([*cells, cell("teacher", "nli", first)], ROLES, {"topic": ["macro_f1"]}, 50)
    level = found.tasks["topic"].metrics["macro_f1"]
    assert list(level.parts) == ["en", "hi"]
    assert [part.examples for part in level.parts.values()] == [60, 60]
    assert list(found.tasks["nli"].metrics) == ["accuracy", "macro_f1"]
    assert found.mean is not None
    assert set(found.mean.scores) == {"teacher"}  # the student has no cell of nli
    assert not found.broken


def test_losses_are_in_no_mean_with_scores() -> None:
    losses = predictions(Kind.LOSSES, [1.0], np.ones(1))
    cells = [cell("teacher", "text", losses), cell("teacher", "topic", right_share(0.9, 50))]
    found = score(cells, ROLES, {}, 20)
    assert found.mean is not None
    assert list(found.mean.parts) == ["topic"]
    assert found.tasks["text"].leading[1].scores["teacher"].value == 1


def test_only_examples_that_all_were_asked_are_compared() -> None:
    """A tokenizer cut the second sentence of one model, which read the sentences in its order."""
    right = [0, 1, 2, 0, 3, 0]
    whole = predictions(Kind.TAGS, right, certain(right, 5), [8, 8, 8, 5, 5, 9], labels=TAGS)
    cut = whole.take(np.array([5, 3, 0, 1, 2]))
    found = paired({"whole": whole, "cut": cut})
    for own in found.values():
        assert own.examples.tolist() == [8, 8, 8, 9]
        assert own.targets.tolist() == [0, 1, 2, 0]
    taught = score([cell("teacher", "ner", whole), cell("student", "ner", cut)], ROLES, {}, 20)
    assert taught.tasks["ner"].left_out == {"en": 1}
    assert taught.tasks["ner"].leading[1].parts["en"].examples == 2


def test_a_text_that_occurs_twice_is_paired_twice() -> None:
    own = predictions(Kind.CLASSES, [0, 1, 1], certain([0, 1, 1], 2), [4, 7, 4])
    found = paired({1: own, 2: own.take(np.array([0, 1]))})
    assert [part.targets.tolist() for part in found.values()] == [[0, 1], [0, 1]]


def test_examples_with_other_answers_are_not_compared() -> None:
    own = predictions(Kind.CLASSES, [0, 1, 1], certain([0, 1, 1], 2))
    other = replace(own, targets=np.array([0.0, 0.0, 1.0]))
    assert len(paired({1: own, 2: other})[1]) == 2
    none = paired({1: own, 2: replace(own, examples=own.examples + np.uint64(5))})
    assert [len(part) for part in none.values()] == [0, 0]
    cells = [
        cell("teacher", "a", own),
        cell("student", "a", replace(own, examples=own.examples + np.uint64(5))),
    ]
    found = score(cells, ROLES, {}, 20)
    assert found.tasks["a"].leading[1].why == "no example was asked of all models"
    assert found.mean is None


def test_broken_cells_do_not_end_the_others() -> None:
    own = right_share(0.9, 50)
    nan = replace(own, scores=np.where(np.arange(50)[:, None] < 3, np.nan, own.scores))
    cells = [
        cell("teacher", "topic", own),
        cell("student", "topic", None, error="out of memory"),
        cell("control", "topic", nan),
        cell("other", "topic", replace(own, labels=("a", "b"))),
        cell("student", "nli", own),
        cell("teacher", "nli", None, error="no such folder"),
        cell("teacher", "sts", predictions(Kind.VALUES, [1.0, 2.0], np.arange(2.0))),
    ]
    found = score(cells, ROLES, {"sts": ["accuracy"]}, 20)
    assert list(found.tasks) == ["topic"]
    told = {(own.model, own.task): own.error for own in found.broken}
    assert told["student", "topic"] == "out of memory"
    assert told["control", "topic"] == "3 of 50 rows have a score that is NaN"
    assert told["other", "topic"] == "has the labels a, b, and the reference "
    assert told["teacher", "nli"] == "no such folder"
    assert "of which accuracy says nothing" in told["all models", "sts"]


def test_loyalty_is_to_the_teacher_of_the_same_seed() -> None:
    first, second = right_share(0.9, 60), right_share(0.6, 60, seed=1)
    cells = [
        cell("teacher", "topic", first, 1),
        cell("teacher", "topic", second, 2),
        cell("student", "topic", first, 1),
        cell("student", "topic", second, 2),
        cell("majority", "topic", second, 1),
    ]
    found = score(cells, ROLES, {}, 20).tasks["topic"].loyalty
    assert set(found) == {"student"}
    assert found["student"]["mean"]["label_loyalty"] == 1
    assert found["student"]["en"]["probability_loyalty"] == 1
    assert found["student"]["en"]["invented"] == 0


def test_every_kind_has_a_loyalty() -> None:
    classes = loyalty(right_share(0.8, 50, seed=1), right_share(0.9, 50))
    assert set(classes) == {
        *("label_loyalty", "probability_loyalty", "ece", "teacher_ece"),
        *("inherited", "invented", "corrected"),
    }
    assert classes["teacher_ece"] == pytest.approx(0, abs=1e-6)  # nine of ten, 90 % sure
    assert classes["ece"] == pytest.approx(0.1)
    values = predictions(Kind.VALUES, [0, 0, 0], np.array([1.0, 2.0, 4.0]))
    twice = replace(values, scores=values.scores * 2)
    wanted = fidelity.value_loyalty(twice.scores[:, 0], values.scores[:, 0])
    assert loyalty(twice, values) == {
        "pearson": wanted.pearson,
        "mae": wanted.mae,
        "ccc": wanted.ccc,
    }
    queries = predictions(Kind.RANKING, [1, 0, 1, 0], np.array([3, 1, 1, 2.0]), [0, 0, 1, 1])
    turned = replace(queries, scores=np.array([[3], [1], [2], [1.0]]))
    assert loyalty(queries, turned) == {"label_loyalty": 0.5}
    assert loyalty(replace(values, kind=Kind.LOSSES), values) == {}
