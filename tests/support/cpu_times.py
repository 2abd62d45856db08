"""Processor seconds of every test, written down: what is long begins first, what is short is quick.

Hooks for `conftest.py`. A test's time is that of its own process and of those that it started, so
that a busy machine does not change it. `tests/times.json` holds the longest case of each function.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[1] / "times.json"
QUICK = 0.1
"""A test below it is for `make quick`; so is one that nobody has timed."""
TIMES: dict[str, float] = json.loads(FILE.read_text("utf-8")) if FILE.is_file() else {}
FOUND: dict[str, float] = {}
"""What this session has timed so far."""
BEGUN = pytest.StashKey[float]()


def function_of(nodeid: str) -> str:
    """The test function of a case, as `times.json` names it: paths without the folder `tests`."""
    return nodeid.partition("[")[0].removeprefix("tests/")


def seconds() -> float:
    """Processor time of this process and of its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def order(items: list[pytest.Item]) -> None:
    """Sorts files by their longest test, longest first; marks what is not quick as `run`.

    The order within a file stays: its tests share what is costly to make.
    """
    longest: dict[str, float] = {}
    for item in items:
        time = TIMES.get(function_of(item.nodeid), 0.0)
        longest[item.path.as_posix()] = max(time, longest.get(item.path.as_posix(), 0.0))
        if time >= QUICK:
            item.add_marker("run")
    items.sort(key=lambda item: -longest[item.path.as_posix()])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Starts a test's clock, before its fixtures."""
    item.stash[BEGUN] = seconds()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Stops it once all is taken down."""
    report = yield
    if report.when == "teardown":
        report.user_properties.append(("seconds", seconds() - item.stash[BEGUN]))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Gathers the times of all processes that run tests."""
    for name, value in report.user_properties if report.when == "teardown" else ():
        if name == "seconds" and isinstance(value, float):
            function = function_of(report.nodeid)
            FOUND[function] = max(value, FOUND.get(function, 0.0))


def write(path: Path) -> None:
    """Writes down what was timed; functions that were not keep their time."""
    known = {
        name: time
        for name, time in TIMES.items()
        if (path.parent / name.partition("::")[0]).is_file()
    }
    times = {name: round(time, 2) for name, time in {**known, **FOUND}.items() if time >= QUICK / 2}
    path.write_text(json.dumps(dict(sorted(times.items())), indent=0) + "\n", "utf-8")
