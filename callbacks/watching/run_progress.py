"""How far a run is: one bar over all its updates."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lit_distill.knobs import NotNegative, check_knobs

BETWEEN_DRAWINGS = 0.25
"""Seconds."""


class RunProgress(ProgressBar):
    """A bar from the first update to the last with the training losses that were logged last.

    In a terminal the bar is redrawn twice a second by a thread; elsewhere (a log file, a batch
    queue) a line is written every `seconds`. Unlike Lightning's bars it counts updates, not the
    batches of an epoch, and never waits for the device: the numbers are those that
    `Distillation.logged` holds already.

    Args:
        seconds: between two lines where there is no terminal.
    """

    def __init__(self, seconds: NotNegative = 60.0) -> None:
        super().__init__()
        check_knobs(RunProgress, locals())
        self.seconds = seconds
        self._enabled = True
        self._bar: Progress | None = None
        self._training, self._measuring = TaskID(0), TaskID(1)
        self._first, self._started, self._spoke = 0, 0.0, 0.0

    @property
    def is_enabled(self) -> bool:
        """Whether this rank shows the bar; Lightning then prints through it."""
        return self._enabled

    def enable(self) -> None:
        """Shows it (Lightning's tuners switch bars off and on)."""
        self._enabled = True

    def disable(self) -> None:
        """Hides it; all ranks but the first do."""
        self._enabled = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts at the update that a resumed run has reached."""
        self._first, self._started = trainer.global_step, time.monotonic()
        self._spoke = self._started
        total = int(trainer.estimated_stepping_batches)
        self._show(self._training, "training", total, trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Moves on, now and then: a text for every update would cost more than the eye sees."""
        now = time.monotonic()
        if self._bar is not None and now - self._spoke >= BETWEEN_DRAWINGS:
            self._spoke = now
            self._advance(trainer, pl_module)
        elif self._bar is None and self._enabled and now - self._spoke >= self.seconds:
            self._spoke = now
            print(self._line(trainer, pl_module), file=sys.stderr, flush=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the last update."""
        self._advance(trainer, pl_module)

    def _advance(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar is not None:
            losses = _losses(pl_module)
            self._bar.update(self._training, completed=trainer.global_step, losses=losses)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds a bar of the validation's batches."""
        sanity = trainer.sanity_checking
        batches = trainer.num_sanity_val_batches if sanity else trainer.num_val_batches
        self._show(self._measuring, "validation", sum(_counts(batches)))

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Moves on."""
        if self._bar is not None:
            self._bar.advance(self._measuring)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes its bar away while training goes on."""
        if self._bar is not None and trainer.state.fn == "fit":
            self._bar.update(self._measuring, visible=False)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """As for a validation."""
        self._show(self._measuring, "test", sum(_counts(trainer.num_test_batches)))

    on_test_batch_end = on_validation_batch_end
    on_test_end = on_validation_end

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Gives the terminal back before the error is shown."""
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives the terminal back."""
        self._close()

    def _show(self, task: TaskID, what: str, total: float, completed: int = 0) -> None:
        """Starts one of the two bars, and with the first one the display."""
        console = Console(stderr=True)
        if self._bar is None and self._enabled and console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[losses]}"),
            )
            self._bar = Progress(*columns, console=console, refresh_per_second=2)
            for name in ("training", "validation"):
                self._bar.add_task(name, visible=False, losses="")
            self._bar.start()
        if self._bar is not None:
            self._bar.reset(task, total=total, completed=completed, description=what, visible=True)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _line(self, trainer: Trainer, pl_module: LightningModule) -> str:
        done, total = trainer.global_step, int(trainer.estimated_stepping_batches)
        speed = (done - self._first) / (self._spoke - self._started)
        left = f"{(total - done) / speed / 60:.0f} min left" if speed else "no update yet"
        parts = [
            f"update {done:,} of {total:,}",
            _losses(pl_module),
            f"{speed:.3g} updates/s",
            left,
        ]
        return " · ".join(part for part in parts if part)


def _losses(pl_module: LightningModule) -> str:
    logged: dict[str, float] = getattr(pl_module, "logged", {})
    return "  ".join(f"{name} {value:.4g}" for name, value in logged.items())


def _counts(batches: Any) -> list[float]:
    return batches if isinstance(batches, list) else [batches]
