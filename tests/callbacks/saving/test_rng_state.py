"""Random numbers after a resume are those of the uninterrupted run."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from callbacks import RngState, RunCheckpoint

Fit = Callable[..., tuple[Trainer, Any]]


class Draws(Callback):
    """Draws from every generator in every training step, after all `on_train_batch_start`."""

    def __init__(self) -> None:
        self.drawn: list[tuple[float, ...]] = []

    def on_before_zero_grad(self, trainer: Trainer, pl_module: LightningModule, _: Any) -> None:
        # gauss keeps half of what it draws for the next time: that half is state too
        self.drawn.append(
            (
                random.gauss(0, 1),
                float(np.random.standard_normal()),
                float(torch.rand(())),
                random.random(),
                float(np.random.random()),
            )
        )


@pytest.fixture(autouse=True)
def _own_seed() -> Any:
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(before[0])
    np.random.set_state(before[1])
    torch.set_rng_state(before[2])


def drawn(fit: Fit, *callbacks: Callback, **options: Any) -> list[tuple[float, ...]]:
    draws = Draws()
    fit(draws, *callbacks, **options)
    return draws.drawn


def test_draws_go_on_where_they_were(fit: Fit, tmp_path: Path) -> None:
    seed_everything(1, verbose=False)
    whole = drawn(fit, RngState(), RunCheckpoint(), max_epochs=2)
    assert len(set(whole)) == 16
    for resumed_with in ([RngState()], []):
        folder = tmp_path / str(len(resumed_with))
        seed_everything(1, verbose=False)
        options = {"default_root_dir": folder}
        first = drawn(fit, RngState(), RunCheckpoint(), max_epochs=1, **options)
        assert first == whole[:8]
        seed_everything(2, verbose=False)
        rest = drawn(
            fit,
            *resumed_with,
            RunCheckpoint(),
            max_epochs=2,
            ckpt_path=folder / "checkpoints" / "last.ckpt",
            **options,
        )
        assert (rest == whole[8:]) == bool(resumed_with)


def test_states_of_another_number_of_processes_are_not_taken(fit: Fit, tmp_path: Path) -> None:
    fit(RngState(), RunCheckpoint(), max_epochs=1)
    last = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["rng"] *= 2
    torch.save(checkpoint, last)
    with pytest.warns(UserWarning, match="of 2 processes and this run has 1"):
        fit(RngState(), RunCheckpoint(), max_epochs=2, ckpt_path=last)


def test_every_rank_has_its_own(fit: Fit, tmp_path: Path) -> None:
    class Differ(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            random.seed(trainer.global_rank)

    options = {"strategy": "ddp_fork", "devices": 2, "limit_val_batches": 0}
    fit(Differ(), RngState(), RunCheckpoint(), max_epochs=1, ranks=2, **options)
    states = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["rng"]
    assert [state["python"][1][:3] for state in states] == [
        random.Random(rank).getstate()[1][:3] for rank in (0, 1)
    ]


def test_a_save_before_the_first_batch_of_a_resume_holds_them(fit: Fit, tmp_path: Path) -> None:
    """As that of a validation that was still due; then the run is killed again."""

    class SavesAtOnce(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.save_checkpoint(tmp_path / "again.ckpt")

    seed_everything(1, verbose=False)
    whole = drawn(fit, RngState(), RunCheckpoint(), max_epochs=2)
    seed_everything(1, verbose=False)
    options = {"default_root_dir": tmp_path / "stopped"}
    drawn(fit, RngState(), RunCheckpoint(), max_epochs=1, **options)
    last = tmp_path / "stopped" / "checkpoints" / "last.ckpt"
    seed_everything(2, verbose=False)
    drawn(fit, RngState(), RunCheckpoint(), SavesAtOnce(), max_epochs=2, ckpt_path=last, **options)
    seed_everything(3, verbose=False)
    again = {"ckpt_path": tmp_path / "again.ckpt", "default_root_dir": tmp_path / "again"}
    assert drawn(fit, RngState(), RunCheckpoint(), max_epochs=2, **again) == whole[8:]
