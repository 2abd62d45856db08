"""What accumulation asks of a loader, and what undoes the Trainer's means."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from batches import collate, samples, window

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.training.accumulation import micro_batches, undone_means

PARTS = [collate(samples(4, 100, seed=seed)) for seed in range(2)]


def test_the_first_micro_batch_has_all_of_them() -> None:
    first, _ = window(PARTS)
    assert micro_batches(first, 2) == list(first["window"])
    assert micro_batches(PARTS[0], 1) == [PARTS[0]]
    for batch, expected in ((first, 3), (Batch(**PARTS[0]), 2)):
        with pytest.raises(UserError, match=f"accumulate_grad_batches is {expected} and"):
            micro_batches(batch, expected)


@pytest.mark.parametrize(("engine", "factor"), [(False, 4 * 3), (True, 4 * 4 * 3)])
def test_every_mean_of_the_trainer_is_undone(engine: bool, factor: int) -> None:
    strategy = SimpleNamespace(handles_gradient_accumulation=engine)
    trainer = SimpleNamespace(accumulate_grad_batches=4, world_size=3, strategy=strategy)
    assert undone_means(cast(Any, trainer)) == factor
