"""Whatever happens to a run, nothing that was saved is lost, and it ends as if nothing had."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.conftest import Configure, Unharmed
from faults.plan import Injection, everyday, planned
from faults.remains import differences
from faults.report import Outcome

INJECTIONS = planned()
EVERYDAY = everyday(INJECTIONS)


@pytest.mark.rotated(2)  # three runs each
@pytest.mark.parametrize(
    "injection",
    [
        pytest.param(
            one,
            marks=[] if one in EVERYDAY else pytest.mark.faults,
            id=str(one).replace(" ", "_"),  # so that `-k` can name one
        )
        for one in INJECTIONS
    ],
)
def test_nothing_is_lost(
    injection: Injection,
    configured: Configure,
    unharmed: Unharmed,
    outcomes: list[Outcome],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    fault = injection.fault
    folder = request.getfixturevalue("small_disk") if fault.on_small_disk else tmp_path
    run = configured(injection.method, injection.workers, injection.ranks, folder)
    outcome = Outcome(injection)
    outcomes.append(outcome)
    codes = fault.strike(run)
    outcome.exits = " ".join(map(str, codes))
    outcome.saved, outcome.kept = run.saved, run.kept
    assert outcome.kept >= outcome.saved
    if any(codes):
        again = run.printed_command or run.fit(*["--ckpt_path", "last"][: 2 * bool(outcome.kept)])
        assert not any(run.work(again, *fault.lasting())), run.output()
    expected = unharmed(injection.method, injection.ranks, fault.spoilt(outcome.kept))
    redone = fault.redone(outcome.kept)
    outcome.differences = differences(run.remains(), expected, redone)
    assert not outcome.differences
    assert not list(run.folder.rglob("*.lit_distill-*"))
