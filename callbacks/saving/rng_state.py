"""Random numbers that go on after a resume as if nothing had happened."""

from __future__ import annotations

import random
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning_utilities.core.rank_zero import rank_zero_warn


class RngState(Callback):
    """Saves the random states of Python, NumPy, torch and the GPU, one set per rank.

    They are put back at the first training batch after a resume and not before: making loaders and
    iterators draws random numbers too. Without this, dropout differs after a resume. A save before
    that batch, such as that of a validation that was still due, holds them as they were saved.
    """

    def __init__(self) -> None:
        self._to_restore: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the states of all ranks; called on all of them."""
        own = self._to_restore or _read(pl_module.device)
        states: list[dict[str, Any]] = [own]
        if trainer.world_size > 1:
            states = states * trainer.world_size
            torch.distributed.all_gather_object(states, own)
        checkpoint["rng"] = states

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keeps this rank's state for the first batch."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        states = checkpoint.get("rng", [])
        if len(states) == trainer.world_size:
            self._to_restore = states[trainer.global_rank]
        else:
            rank_zero_warn(
                f"The checkpoint holds random states of {len(states)} processes and this run has "
                f"{trainer.world_size}: dropout will differ from an uninterrupted run."
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Puts the state back, once."""
        if self._to_restore is not None:
            _write(self._to_restore, pl_module.device)
            self._to_restore = None


def _read(device: torch.device) -> dict[str, Any]:
    """All states of this process as plain values, which `weights_only` accepts."""
    name, keys, *rest = cast(tuple[Any, ...], np.random.get_state(legacy=True))
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def _write(state: dict[str, Any], device: torch.device) -> None:
    name, keys, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
