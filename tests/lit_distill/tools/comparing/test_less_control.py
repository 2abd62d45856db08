"""Differences from a control: their value, and whether intervals are as wide as they should be."""

from __future__ import annotations

import numpy as np
import pytest

from lit_distill.tools.comparing.less_control import less_control


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
