"""A validation that an update was to be followed by, and that a stop has prevented.

Lightning saves whether one is running; that one was due it forgets, because a checkpoint between an
update and its validation looks like one after both. Here is all that this project uses of its
loops' inner life.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.trainer import call


def validation_is_due(trainer: Trainer) -> bool:
    """Whether the Trainer will validate when the hooks of the present batch's end are through."""
    loop: Any = trainer.fit_loop
    return bool(loop.epoch_loop._should_check_val_fx(loop._data_fetcher))


def validate_now(trainer: Trainer) -> None:
    """Runs the validation as the Trainer would between two batches of a fit, from its beginning."""
    loop: Any = trainer.fit_loop.epoch_loop.val_loop
    logged: Any = trainer._logger_connector
    first = logged._first_loop_iter  # which a validation forgets, and the batch's end asks for
    loop.restarting = False  # not from where a killed one was
    loop.reset_restart_stage()
    trainer.validating = True
    try:
        loop.run()
    finally:
        trainer.training = True
        logged._first_loop_iter = first
    # Or a loop that goes on at an epoch's end would think itself done, never leave its restart, and
    # pass over the next epoch.
    loop._has_run = False


def end_without_training(trainer: Trainer, before: Callable[[Trainer], None]) -> None:
    """Has a fit that finds no update left end as one does: Lightning would call no hook at all.

    Args:
        trainer: at the start of a fit that goes on from a checkpoint.
        before: what is to be done before training ends.
    """
    loop: Any = trainer.fit_loop

    def run() -> None:
        del loop.run  # the loop's own again
        loop.setup_data()
        if loop.done:
            before(trainer)
            call._call_callback_hooks(trainer, "on_train_end")
            call._call_lightning_module_hook(trainer, "on_train_end")
        loop.run()

    loop.run = run
