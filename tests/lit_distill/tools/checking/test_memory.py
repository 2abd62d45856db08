"""What a rehearsal's memory says of a longer run."""

from __future__ import annotations

import math

import pytest

from lit_distill.tools.checking.memory import FEWEST, FILLED, still_to_grow


def test_each_doubling_of_the_updates_adds_as_much() -> None:
    seen = [int(1000 + 100 * math.log2(update)) for update in range(1, 33)]
    assert still_to_grow(seen, 128) == 200
    assert still_to_grow(seen, 128) + seen[-1] == 1000 + 100 * math.log2(128)
    assert still_to_grow(seen, 10**6) == still_to_grow(seen, FILLED)


@pytest.mark.parametrize("updates", [10, 32])
def test_nothing_is_added_to_what_was_seen(updates: int) -> None:
    assert still_to_grow([*range(32)], updates) == 0


def test_too_few_updates_tell_nothing() -> None:
    assert still_to_grow([*range(FEWEST - 1)], 1000) == 0
    assert still_to_grow([7] * 20, 1000) == 0
