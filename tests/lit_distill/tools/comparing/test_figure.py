"""The figure of a comparison, by the numbers that are drawn."""

from __future__ import annotations

import pytest

from lit_distill.tools.comparing.figure import drawn, points_of
from lit_distill.tools.comparing.less_control import SeedDifference
from lit_distill.tools.comparing.rows import Method, OverSeeds, TrainingCost


def method(losses: tuple[float, ...], speed: float, seconds: float | None, gap: object) -> Method:
    mean = sum(losses) / len(losses)
    training = None if seconds is None else TrainingCost(5, 5, (), 100, seconds)
    own = gap if isinstance(gap, SeedDifference) else None
    return Method(
        10, 10, speed, {}, own, None, loss=OverSeeds(mean, losses, None), training=training
    )


ROWS = {
    "teacher": method((2.0,), 50, None, SeedDifference(-1, -1.2, -0.8, (-1,), None)),
    "own": method((2.4, 2.6), 90, 30, SeedDifference(-0.5, -0.7, -0.2, (-0.6, -0.4), 0.1)),
    "control": method((3.0, 3.0), 91, 20, None),
    "cut": method((3.5,), 92, 0, SeedDifference(0.5, 0.4, 0.6, (0.5,), None)),
}


def test_points_have_loss_price_seeds_and_the_interval_above_the_controls_loss() -> None:
    panels = points_of(ROWS, "control")
    speed, training = panels["sentences per second"], panels["seconds of training"]
    assert list(speed) == list(ROWS)
    assert list(training) == ["own", "control"]  # others took no time, or nobody knows
    assert (speed["own"].price, training["own"].price) == (90, 30)
    assert speed["own"].loss == pytest.approx(2.5)
    assert speed["own"].by_seed == (2.4, 2.6)
    assert speed["own"].interval == pytest.approx((2.3, 2.8))
    assert speed["control"].interval is None


def test_without_a_control_there_are_no_intervals() -> None:
    assert all(
        point.interval is None for point in points_of(ROWS, None)["sentences per second"].values()
    )


def test_it_is_a_picture() -> None:
    first = drawn(ROWS, "control")
    assert first.startswith(b"\x89PNG")
    assert first == drawn(ROWS, "control")
