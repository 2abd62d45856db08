"""What a student keeps, how sure that is, and where it cannot be said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluated import certain, predictions, right_share
from scipy.stats import bootstrap

from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions
from lit_distill.tools.evaluating.scoring.metrics import METRICS
from lit_distill.tools.evaluating.scoring.resampling import Resamples, Sampled, combined
from lit_distill.tools.evaluating.scoring.retention import Level, Roles, level_of, mean_of

ROLES = Roles("teacher", "control")
ACCURACY = METRICS["accuracy"]


def level(roles: Roles = ROLES, metric: str = "accuracy", **cells: Predictions) -> Level:
    """One language; `student_2` is its second seed, and names with a space lose that."""
    named: dict[tuple[str, int], Predictions] = {}
    for name, own in cells.items():
        model, _, seed = name.partition("_")
        named[model.replace("bag", "bag of words"), int(seed or 1)] = own
    examples = len(next(iter(cells.values())).starts)
    return level_of(named, METRICS[metric], roles, Resamples(examples))


def test_retention_is_counted_above_chance() -> None:
    own = level(
        teacher=right_share(0.9, 200),
        student=right_share(0.85, 200, seed=1),
        majority=right_share(0.5, 200, seed=2),
    )
    assert own.kept["student"].value == pytest.approx(0.85 / 0.9)
    assert own.retention["student"].value == pytest.approx(0.35 / 0.4)
    nothing = level(
        teacher=right_share(0.9, 200),
        student=right_share(0.5, 200, seed=1),
        majority=right_share(0.5, 200, seed=2),
    )
    assert nothing.retention["student"].value == pytest.approx(0)


def test_without_a_majority_baseline_the_metric_says_what_chance_is() -> None:
    right = [0] * 60 + [1] * 40
    teacher = predictions(Kind.CLASSES, right, certain([*right[:-2], 0, 0], 2))
    student = predictions(Kind.CLASSES, right, certain([*right[:-10], *[0] * 10], 2))
    own = level(teacher=teacher, student=student)
    assert own.chance is not None
    assert own.chance.value == 0.6
    assert own.retention["student"].value == pytest.approx((0.9 - 0.6) / (0.98 - 0.6))


def test_models_are_compared_on_the_same_draws() -> None:
    teacher = right_share(0.8, 300)
    own = level(teacher=teacher, student=teacher, control=right_share(0.6, 300, seed=1))
    assert own.retention["student"].interval == (pytest.approx(1), pytest.approx(1))
    assert own.kept["student"].interval == (pytest.approx(1), pytest.approx(1))
    low, high = own.scores["student"].interval or (0, 0)
    assert high - low > 0.05


def test_the_interval_is_that_of_scipy() -> None:
    teacher, student = right_share(0.8, 400), right_share(0.7, 400, seed=1)
    own = level(teacher=teacher, student=student, control=student)
    hits = [each.chosen == each.targets for each in (student, teacher)]
    for formula, found in (
        (lambda s, t, axis: s.mean(axis) / t.mean(axis), own.kept["student"]),
        (lambda s, t, axis: 2 * s.mean(axis) - t.mean(axis), None),
    ):
        wanted = bootstrap(
            hits, formula, paired=True, method="percentile", n_resamples=4000, rng=0
        ).confidence_interval
        if found is None:
            parts = own.scores["student"], own.scores["teacher"]
            found = combined(lambda s, t: 2 * s - t, *parts)
        assert found.interval == pytest.approx(tuple(wanted), abs=0.012)


def test_examples_are_drawn_whole() -> None:
    """Ten words of one sentence are no ten sentences."""
    sentences = right_share(0.7, 100)
    rows = np.repeat(np.arange(100), 10)
    words = replace(sentences.take(rows), kind=Kind.TAGS, labels=("NOUN", "VERB"))
    widths = []
    for own in (sentences, words):
        low, high = level(teacher=own).scores["teacher"].interval or (0, 0)
        widths.append(high - low)
    assert widths[0] == pytest.approx(widths[1])


def test_a_teacher_that_knows_nothing_cannot_be_retained() -> None:
    teacher, bag = right_share(0.80, 100), right_share(0.78, 100, seed=1)
    student, majority = right_share(0.75, 100, seed=2), right_share(0.5, 100, seed=3)
    with_bag = level(teacher=teacher, student=student, bag=bag, majority=majority)
    assert with_bag.why == "teacher does not beat bag of words beyond the interval"
    assert not with_bag.retention
    assert with_bag.kept["student"].value == pytest.approx(0.75 / 0.8)
    without = level(teacher=teacher, student=student, majority=majority)
    assert not without.why
    alone = level(teacher=right_share(0.52, 100), student=student)
    assert alone.why == "teacher does not beat chance beyond the interval"


def test_what_has_no_chance_level_is_not_retained() -> None:
    own = predictions(Kind.LOSSES, [2.0, 2.0], np.array([3.0, 5.0]))
    found = level(metric="loss", teacher=own, student=own)
    assert found.scores["teacher"].value == 2
    assert found.why == "loss has no chance level"


def test_what_is_not_measurable_is_out_of_the_mean() -> None:
    good = level(teacher=right_share(0.9, 200), student=right_share(0.7, 200, seed=1))
    bad = level(teacher=right_share(0.5, 200), student=right_share(0.9, 200, seed=1))
    third = level(teacher=right_share(0.9, 100), student=right_share(0.8, 100, seed=1))
    own = mean_of({"en": good, "de": bad, "hi": third}, ROLES)
    assert list(own.measurable_parts) == ["en", "hi"]
    assert own.retention["student"].value == pytest.approx((0.5 + 0.75) / 2)
    assert own.scores["student"].value == pytest.approx((0.7 + 0.9 + 0.8) / 3)
    assert own.kept["student"].value == pytest.approx(2.4 / 2.3)
    assert own.worst("student") == "en"
    assert own.gap("student") == pytest.approx(0.25)
    nothing = mean_of({"de": bad}, ROLES)
    assert (nothing.why, dict(nothing.retention), nothing.worst("student")) == (bad.why, {}, None)


def test_a_model_without_a_cell_has_no_mean() -> None:
    both = level(teacher=right_share(0.9, 200), student=right_share(0.7, 200, seed=1))
    one = level(teacher=right_share(0.9, 200))
    own = mean_of({"topic": both, "nli": one}, ROLES)
    assert set(own.scores) == {"teacher"}
    assert not own.retention


def test_seeds_are_paired() -> None:
    shares = {"student_1": 0.8, "student_2": 0.7, "student_3": 0.6}
    taught = {"teacher_1": 0.9, "teacher_2": 0.8, "teacher_3": 0.85}
    parts = {name: right_share(share, 100) for name, share in (shares | taught).items()}
    own = level(**parts, control=right_share(0.5, 100, seed=1))
    student = own.scores["student"].estimate
    assert (student.value, student.seeds) == (pytest.approx(0.7), 3)
    assert student.spread == pytest.approx(0.1)
    assert own.kept["student"].value == pytest.approx(0.7 / 0.85)
    ratios = [0.8 / 0.9, 0.7 / 0.8, 0.6 / 0.85]
    assert own.kept["student"].estimate.spread == pytest.approx(np.std(ratios, ddof=1))
    over = own.over_control["student"].estimate  # the control was asked once
    assert (over.value, over.spread) == (pytest.approx(0.2), pytest.approx(0.1))
    assert set(own.over_control) == {"student"}


def test_a_seed_of_one_model_alone_is_in_no_spread() -> None:
    first = Sampled.over_seeds({1: 1.0, 2: 2.0}, {1: np.ones(5), 2: np.ones(5)})
    second = Sampled.over_seeds({2: 4.0, 3: 5.0}, {2: np.ones(5), 3: np.ones(5)})
    found = combined(lambda a, b: a / b, first, second)
    assert found.by_seed == {2: 0.5}


def test_what_is_undefined_is_told_as_none() -> None:
    constant = predictions(Kind.VALUES, [1.0, 2.0, 3.0, 4.0], np.ones(4))
    teacher = predictions(Kind.VALUES, [1.0, 2.0, 3.0, 4.0], np.array([1.0, 2.0, 2.5, 4.0]))
    own = level(metric="pearson", teacher=teacher, student=constant)
    told = own.scores["student"].estimate
    assert (told.value, told.low, told.high) == (None, None, None)
    assert own.kept["student"].estimate.value is None


def test_draws_are_a_function_of_the_seed_and_as_many_as_examples() -> None:
    every = [np.concatenate(list(Resamples(50, 200, seed))) for seed in (0, 0, 1)]
    assert every[0].shape == (200, 50)
    assert (every[0].sum(1) == 50).all()
    assert (every[0] == every[1]).all()
    assert (every[0] != every[2]).any()
    assert every[0].mean(0) == pytest.approx(np.ones(50), abs=0.35)
    long = list(Resamples(2**21, 3))  # in pieces
    assert [len(part) for part in long] == [2, 1]
