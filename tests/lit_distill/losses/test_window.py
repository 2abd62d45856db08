"""The window of an update: its counts, and what losses read of it."""

from __future__ import annotations

import pytest
import torch
from batches import collate, samples

from lit_distill.losses import AccumulationWindow, Term
from lit_distill.schedules import Ramp

PARTS = [collate(samples(4, 100, seed=seed)) for seed in range(2)]


def test_a_batch_alone_is_a_window_at_the_end_of_a_run() -> None:
    (batch, _), weight = PARTS, Ramp(0.0, 3.0)
    alone = AccumulationWindow.single(batch)
    assert alone.batches == [batch]
    assert alone.totals == batch["counts"]
    assert alone.share("rows", weight) == pytest.approx(3.0 / batch["counts"]["rows"])
    half = AccumulationWindow.single(batch, progress=0.5)
    assert half.share("rows", weight) == pytest.approx(1.5 / batch["counts"]["rows"])


def test_the_parts_of_a_window_sum_to_its_mean() -> None:
    whole = AccumulationWindow.of(PARTS, 1.0, None, torch.device("cpu"))
    sums = [torch.tensor(2.0).double(), torch.tensor(5.0).double()]
    parts = [whole.total_loss({"a": Term(each, "rows", 2.0)}) for each in sums]
    rows = sum(batch["counts"]["rows"] for batch in PARTS)
    assert sum(parts).item() == pytest.approx(2.0 * 7.0 / rows, rel=1e-15)
