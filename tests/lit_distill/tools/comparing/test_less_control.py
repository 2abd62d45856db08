"""Differences from a control: their value, and whether intervals are as wide as they should be."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from lit_distill.tools.comparing.less_control import (
    DRAWS,
    less_control,
    less_control_over_seeds,
)


def windows(losses: list[float], counts: list[float]) -> np.ndarray:
    return np.stack([np.array(losses), np.array(counts)], axis=1)


def test_means_are_over_targets_and_then_over_languages() -> None:
    own = {"a": windows([2.0, 9.0], [1, 3]), "b": windows([5.0], [5])}
    other = {"a": windows([1.0, 6.0], [1, 3]), "b": windows([10.0], [5])}
    mean, found = less_control(own, other)
    assert found["a"].value == pytest.approx(4 / 4)
    assert (found["b"].low, found["b"].value, found["b"].high) == (-1, -1, -1)
    assert mean.value == pytest.approx(0)
    assert (found["a"].low, found["a"].high) == (1, 1)  # each window's gap is 1 for each target


def test_a_language_without_targets_is_left_out() -> None:
    own = {"a": windows([2.0, 0.0], [1, 0]), "b": windows([0.0], [0])}
    mean, found = less_control(own, {name: sums * 0.5 for name, sums in own.items()})
    assert set(found) == {"a"}
    assert mean.value == found["a"].value == 1


def test_an_interval_is_as_wide_as_the_standard_error_says() -> None:
    """Paired: what both models find hard does not widen it."""
    draw = np.random.default_rng(0)
    hard, gaps = draw.normal(0, 100, 400), draw.normal(0.5, 1, 400)
    control = {"a": windows(list(hard), [1.0] * 400)}
    mean, _ = less_control({"a": windows(list(hard + gaps), [1.0] * 400)}, control)
    assert mean.value == pytest.approx(gaps.mean())
    assert (mean.high - mean.low) / 2 == pytest.approx(1.96 * gaps.std() / 20, rel=0.08)
    assert mean.low < 0.5 < mean.high


def seeds_of(gaps: np.ndarray) -> tuple[list[dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
    """Losses (S, W) above a control of zeros, one target for each window."""
    own = [{"a": windows(list(row), [1.0] * len(row))} for row in gaps]
    return own, [{"a": windows([0.0] * gaps.shape[1], [1.0] * gaps.shape[1])} for _ in gaps]


def test_one_seed_is_a_comparison_without_seeds() -> None:
    draw = np.random.default_rng(2)
    counts = [1.0, 2.0, 3.0, 1.0]
    own, other = ({name: windows(list(draw.normal(5, 1, 4)), counts) for name in "abcdefghij"}
                  for _ in range(2))  # fmt: skip
    mean, found = less_control(own, other)
    one, by_language = less_control_over_seeds([own], [other])
    assert (one.value, one.low, one.high) == (mean.value, mean.low, mean.high)
    assert (by_language["c"].low, by_language["c"].high) == (found["c"].low, found["c"].high)
    assert one.sd is None
    assert one.by_seed == (one.value,)


def test_an_interval_over_seeds_is_that_of_students_t_where_windows_agree() -> None:
    gaps = np.array([0.1, 0.2, 0.6])[:, None] * np.ones((1, 40))
    mean, _ = less_control_over_seeds(*seeds_of(gaps))
    error = np.std([0.1, 0.2, 0.6], ddof=1) / np.sqrt(3)
    assert mean.value == pytest.approx(0.3)
    assert mean.sd == pytest.approx(error * np.sqrt(3))
    assert (mean.high - mean.low) / 2 == pytest.approx(4.3027 * error, rel=0.01)  # t, 2 degrees
    assert mean.by_seed == pytest.approx((0.1, 0.2, 0.6))


def test_windows_are_the_same_under_all_seeds() -> None:
    """What windows add is not averaged away by seeds: they were asked the same questions."""
    gaps = np.random.default_rng(3).normal(0.5, 1, 400)
    alone, _ = less_control_over_seeds(*seeds_of(gaps[None]))
    three, _ = less_control_over_seeds(*seeds_of(np.stack([gaps] * 3)))
    assert three.sd == pytest.approx(0, abs=1e-12)
    assert three.high - three.low == pytest.approx(alone.high - alone.low, rel=1e-6)


def test_an_interval_is_that_of_all_draws_by_hand() -> None:
    """Three windows have 27 draws, and two seeds a t of one degree: both are added up in full."""
    gaps = np.array([[0.0, 1.0, 5.0], [1.0, 2.0, 6.1]])
    mean, _ = less_control_over_seeds(*seeds_of(gaps))
    of_windows = [
        np.mean([gaps[:, w].mean() for w in drawn]) for drawn in product(range(3), repeat=3)
    ]
    error = np.std(gaps.mean(1), ddof=1) / np.sqrt(2)
    of_seeds = error * np.tan(np.pi * ((np.arange(4000) + 0.5) / 4000 - 0.5))  # Cauchy
    every = np.add.outer(of_windows, of_seeds)
    low, high = np.quantile(every, [0.025, 0.975])
    assert (mean.low, mean.high) == (pytest.approx(low, rel=0.1), pytest.approx(high, rel=0.1))
    assert DRAWS == 2000


def test_draws_are_the_same_every_time() -> None:
    gaps = np.random.default_rng(4).normal(0, 1, (2, 30))
    assert less_control_over_seeds(*seeds_of(gaps)) == less_control_over_seeds(*seeds_of(gaps))


def test_what_seeds_have_in_common_does_not_widen_it() -> None:
    """Paired: a seed that is good for both adds nothing."""
    shift = np.array([[0.0], [50.0]])
    gaps = np.random.default_rng(5).normal(0.5, 1, (1, 100)) * np.ones((2, 1))
    own = [{"a": windows(list(row), [1.0] * 100)} for row in gaps + shift]
    control = [{"a": windows([float(x)] * 100, [1.0] * 100)} for x in shift[:, 0]]
    mean, _ = less_control_over_seeds(own, control)
    assert mean.high - mean.low < 0.6
