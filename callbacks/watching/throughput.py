"""How fast training goes."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_distill.batch import Batch


class Throughput(Callback):
    """Logs `time/step` (seconds per update) and `time/tokens_per_second`.

    Both are means over the updates since the last log (`trainer.log_every_n_steps`), measured by
    the clock on the wall without waiting for the device, and leave validations out. Tokens are the
    real ones of this rank times the number of ranks.
    """

    def __init__(self) -> None:
        self._start = self._paused = 0.0
        self._tokens = self._updates = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._restart()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Counts, and logs at every n-th update."""
        self._tokens += batch["counts"]["tokens"]
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        self._updates += 1
        period = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if trainer.global_step % period == 0:
            seconds = time.perf_counter() - self._start
            speed = {
                "time/step": seconds / self._updates,
                "time/tokens_per_second": self._tokens * trainer.world_size / seconds,
            }
            # Not `pl_module.log`, which looks at every metric ever logged in every step: +0.1 ms.
            for logger in trainer.loggers:
                logger.log_metrics(speed, trainer.global_step - 1)  # numbered as Lightning does
            self._restart()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock."""
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts it again."""
        self._start += time.perf_counter() - self._paused

    def _restart(self) -> None:
        self._start, self._tokens, self._updates = time.perf_counter(), 0, 0
