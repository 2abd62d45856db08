"""However often a run is stopped, it ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.chains import drawn, stopped
from faults.configs import CLASSES, SAVED_ELSEWHERE, SAVED_EVERY
from faults.conftest import Configure, Unharmed
from faults.remains import differences
from faults.report import Chain

EVERYDAY = "MaskedLM"  # no teacher, one student: the cheapest


@pytest.mark.rotated(3)  # eleven runs
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=[] if method == EVERYDAY else pytest.mark.slow)
        for method in CLASSES
    ],
)
def test_ten_stops_change_nothing(
    method: str, configured: Configure, unharmed: Unharmed, chains: list[Chain], tmp_path: Path
) -> None:
    stops = drawn(method, SAVED_EVERY.get(method, SAVED_ELSEWHERE))
    chain = Chain(method, ", ".join(map(str, stops)))
    chains.append(chain)
    run = configured(method, 0, 1, tmp_path)
    stopped(run, stops)
    chain.differences = differences(run.remains(), unharmed(method, 1))
    assert not chain.differences
    assert not list(run.folder.rglob("*.lit_distill-*"))
