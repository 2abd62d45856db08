"""Times and token rates are those of training alone."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger

import callbacks.watching.throughput
from callbacks import Throughput

Fit = Callable[..., tuple[Trainer, Any]]


class Clock(Callback):
    """A clock on which a micro-batch takes 1 s and a validation batch 1000 s."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def on_train_batch_start(self, *_: Any) -> None:
        self.now += 1

    def on_validation_batch_start(self, *_: Any) -> None:
        self.now += 1000


def test_means_per_update_without_validations(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(callbacks.watching.throughput, "time", clock)
    options = {"accumulate": 2, "log_every_n_steps": 2, "val_check_interval": 3, "max_epochs": 1}
    fit(clock, Throughput(), logger=CSVLogger(tmp_path, "csv", ""), **options)
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("time/step")]
    assert [float(row["time/step"]) for row in rows] == [2.0, 2.0]
    from batches import collate, samples

    tokens = [collate(samples(4, 100, seed=seed))["counts"]["tokens"] for seed in range(8)]
    assert [float(row["time/tokens_per_second"]) for row in rows] == [
        sum(tokens[:4]) / 4,
        sum(tokens[4:]) / 4,
    ]
    assert time.perf_counter() != clock.now
