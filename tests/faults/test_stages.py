"""A run of stages that is killed in each of them, and between them, ends as the whole one."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import yaml
from faults.chains import Stop, stopped
from faults.configs import Places, settings
from faults.remains import Remains, differences
from faults.runs import Run

STAGES = [
    {"name": "body", "until": {"patience": 1, "min_delta": 100.0}, "freeze": ["cls"],
     "weights": {"*": 0, "cos": 1}, "restore_best": True},
    {"name": "head", "until": 9, "train": ["cls"], "weights": {"cos": 0}, "restore_best": True},
    {"name": "all", "rate": 0.5},
]  # fmt: skip
"""Validated after 3, 6, 9 and 12 updates, the first one ends with update 6, and restores 3."""
STOPS = [
    Stop(1, "micro-batch 1", signal.SIGKILL),
    Stop(4, "micro-batch 0", signal.SIGTERM, rank=1),
    Stop(6, "validation", signal.SIGKILL),
    Stop(6, "after checkpoint", signal.SIGKILL),
    Stop(6, "micro-batch 0", signal.SIGKILL, rank=1),
    Stop(7, "micro-batch 1", signal.SIGKILL),
    Stop(9, "validation", signal.SIGTERM),
    Stop(9, "micro-batch 0", signal.SIGKILL),
    Stop(11, "micro-batch 1", signal.SIGKILL),
]


@pytest.mark.rotated(3)  # eleven runs each
@pytest.mark.parametrize("ranks", [1, 2])
def test_stops_in_every_stage_change_nothing(places: Places, tmp_path: Path, ranks: int) -> None:
    config = settings("TripleLoss", 0, ranks, places)
    config["model"]["init_args"]["stages"] = STAGES
    ends: list[Remains] = []
    for name, stops in (("whole", []), ("stopped", STOPS)):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config))
        run = Run(tmp_path / name, path, ranks)
        stopped(run, stops)
        ends.append(run.remains())
    whole, harmed = ends
    assert not differences(harmed, whole)
    number = {step: v[-1] for (tag, step), v in whole.scalars.items() if tag == "train/stage"}
    assert [number[step] for step in range(12)] == [1.0] * 6 + [2.0] * 3 + [3.0] * 3
