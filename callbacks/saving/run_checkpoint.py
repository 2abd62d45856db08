"""When to save a run, so that whatever stops it, training goes on where it was."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning_utilities.core.rank_zero import rank_zero_warn

from callbacks.saving.due_validation import end_without_training, validate_now, validation_is_due
from callbacks.saving.interruption import Interruption, say
from callbacks.saving.monitored import check_mode
from lit_distill.errors import UserError
from lit_distill.files.atomic_files import keep_as
from lit_distill.knobs import CountOrNone, NotNegative, check_knobs
from lit_distill.measures import metric_of
from lit_distill.training.distillation import Distillation

_DUE = 1  # below every signal's number


class RunCheckpoint(ModelCheckpoint):
    """Saves `checkpoints/last.ckpt`, `previous.ckpt` and `best.ckpt` in the run folder.

    `last` is written periodically, after each validation and at the end; `previous` is the `last`
    before it, to fall back to; `best` is the `last` of the best validation. Of several students
    there is `best-<student>.ckpt` for each, by its own metric. All are written between updates: a
    save that falls due inside an accumulation window waits for the window's edge.

    On SIGTERM and SIGINT (Ctrl-C) the current update is finished and saved, the command that
    resumes is printed, and the process ends with 143 or 130. A second signal ends it at once. A
    validation that was due at the last save and did not come to its end is the first thing that a
    resumed run does, also where no update is left.

    A periodic save that fails (disk full) is reported and tried again at the next; training goes on
    and the older files stay, so that what was best in it and is written nowhere is forgotten.

    Args:
        every_n_updates: save after every n-th update; 0: not by count.
        every_n_minutes: save when so many minutes have passed since the last one; 0: not by time.
        monitor: the metric that `best` is best in; None: no `best`. Of several students, `val/loss`
            stands for `val/<student>/loss`.
        mode: "min" if less is better.
    """

    def __init__(
        self,
        every_n_updates: CountOrNone = 0,
        every_n_minutes: NotNegative = 10.0,
        monitor: str | None = "val/loss",
        mode: Literal["min", "max"] = "min",
    ) -> None:
        check_knobs(RunCheckpoint, locals())
        super().__init__(monitor=monitor, mode=mode, save_last=True)
        self.every_n_updates, self.every_n_minutes = every_n_updates, every_n_minutes
        self.best: dict[str, float] = {}
        self._better: list[str] = []
        self._named: list[str] = []  # what a save is called beside `last`
        self._written_best: dict[str, float] = {}
        self._interruption = Interruption()
        self._written = time.monotonic()
        self._in_window = self._started = False
        self._due = self._owed = False  # a validation after this update; one of the run before

    # -- when -----------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the folder, and finds out before training whether it can be written to."""
        folder = Path(trainer.default_root_dir).absolute() / "checkpoints"
        self.dirpath = str(folder)
        if stage == "fit" and trainer.is_global_zero:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=folder).close()
            except OSError as error:
                raise UserError(
                    f"Checkpoints cannot be written to {folder}: {error.strerror}. "
                    "Choose another run folder (--run_dir)."
                ) from error

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock and watches for signals; refuses to write over another run."""
        if trainer.global_step == 0 and self._saves(trainer) and self._path("last").exists():
            raise UserError(
                f"{trainer.default_root_dir} holds the checkpoints of an earlier run, which this "
                "one would replace. Go on with it (--ckpt_path last), choose another folder "
                f"(--run_dir), or remove {self.dirpath}."
            )
        self._written, self._last_global_step_saved = time.monotonic(), trainer.global_step
        self._started = True
        self._interruption.watch()
        self._pay(trainer)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sees to a resumed run without an update left: what follows the last may be missing.

        Raises:
            UserError: `mode` keeps the worst.
        """
        check_mode(pl_module, self.monitor, self.mode, "RunCheckpoint")
        if trainer.ckpt_path is not None:
            end_without_training(trainer, self._pay)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """At a window's edge: saves what is due; saves and stops if a signal came."""
        self._in_window = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        if self._in_window:
            return
        self._due = validation_is_due(trainer)
        wish = self._due_update(trainer)
        if wish > _DUE:
            self._save_and_stop(trainer, wish)
        # An epoch's last update is saved by the epoch's end, or by the validation before it.
        elif self._better or (wish and not trainer.is_last_batch):
            self._save(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Does not let a signal wait for the rest of a validation."""
        if self._saves(trainer) and trainer.world_size == 1 and not self._in_window:
            wish = self._due_update(trainer)
            if wish > _DUE:
                self._save_and_stop(trainer, wish)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves `last`, and `best` where it is."""
        if not self._saves(trainer):
            return
        self._due = self._owed = False
        self._better += self._improved(trainer, Distillation.of(pl_module))
        if not self._in_window:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves `last` unless a validation just did."""
        if self._saves(trainer) and self._last_global_step_saved != trainer.global_step:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets signals be; makes sure that the end is saved."""
        self._interruption.release()
        if self._saves(trainer) and self._last_global_step_saved != trainer.global_step:
            self._save(trainer, final=True)
        self._started = False

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Lets signals be and says how to go on, on every rank: any of them may be the last.

        What was reached is not saved: it may lie inside an update.
        """
        self._interruption.release()
        if self._started and not isinstance(exception, SystemExit) and self._path("last").exists():
            stopped = f"Stopped after {trainer.global_step} updates."
            say(f"{stopped} To go on from the last save:", trainer)

    def _pay(self, trainer: Trainer) -> None:
        """Names the best and runs the validation, where the resumed run did not come to it."""
        resumed = Path(str(trainer.ckpt_path))
        if resumed.is_file() and resumed.parent == Path(str(self.dirpath)):
            while self._named:
                self._keep(trainer, resumed, self._named.pop())
        if self._owed and self._saves(trainer):
            self._in_window, self._due = False, True  # until it is through
            validate_now(trainer)

    def _saves(self, trainer: Trainer) -> bool:
        fitting = trainer.state.fn == TrainerFn.FITTING
        rehearsal = trainer.sanity_checking or trainer.fast_dev_run  # type: ignore[attr-defined]
        return fitting and not rehearsal

    def _due_update(self, trainer: Trainer) -> int:
        """0, `_DUE`, or the number of a signal; all ranks agree."""
        seconds = time.monotonic() - self._written
        due = (
            (self.every_n_updates and trainer.global_step % self.every_n_updates == 0)
            or (self.every_n_minutes and seconds >= 60 * self.every_n_minutes)
            or trainer.global_step == trainer.max_steps
        )
        wish = self._interruption.received or (_DUE if due else 0)
        if trainer.world_size == 1:
            return wish
        # A signal reaches ranks at different moments, or only one. Lightning, too, synchronises
        # all ranks at every batch for this.
        shared = torch.tensor(wish, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(shared, reduce_op="max"))

    def _improved(self, trainer: Trainer, module: Distillation) -> list[str]:
        """Names of the files whose metric is better than ever before; decided by rank 0."""
        better: list[str] = []
        if self.monitor is None:
            return better
        for student in module.students:
            name = "best" if len(module.students) == 1 else f"best-{student}"
            key = metric_of(self.monitor, student, module.students)
            value, best = trainer.callback_metrics.get(key), self.best.get(name)
            if value is not None:
                now, sign = float(value), 1 if self.mode == "min" else -1
                if now == now and (best is None or sign * now < sign * best):
                    better.append(name)
                    self.best[name], self.current_score = now, value
        return list(trainer.strategy.broadcast(better))

    # -- how ------------------------------------------------------------------------------------

    def _path(self, name: str) -> Path:
        return Path(str(self.dirpath)) / f"{name}{self.FILE_EXTENSION}"

    def _save(self, trainer: Trainer, final: bool = False) -> None:
        last = self._path("last")
        self.last_model_path = str(last)
        better, self._better = list(dict.fromkeys(self._better)), []
        if better:
            self.best_model_path = str(self._path(better[-1]))
            self.best_model_score = self.current_score
        self._keep(trainer, last, "previous")
        flush(trainer)
        self._named = better
        try:
            self._save_checkpoint(trainer, str(last))
        except UserError as error:  # on rank 0, which writes
            if final:
                raise
            rank_zero_warn(f"{error} Training goes on; the next save tries again.")
            self.best = dict(self._written_best)
            trainer.strategy.barrier()  # where the others wait
            return
        finally:
            self._written, self._named = time.monotonic(), []
        self._written_best = dict(self.best)
        for name in better:
            if last.is_dir():  # of a sharded strategy
                self._save_checkpoint(trainer, str(self._path(name)))
            else:
                self._keep(trainer, last, name)

    def _keep(self, trainer: Trainer, path: Path, name: str) -> None:
        """A second name for `path`; without it there is one to fall back to less, no more."""
        if trainer.is_global_zero:
            try:
                keep_as(path, self._path(name))
            except (UserError, OSError) as error:
                rank_zero_warn(f"{error} Training goes on.")

    def _save_and_stop(self, trainer: Trainer, signal_number: int) -> None:
        if self._last_global_step_saved != trainer.global_step:
            self._save(trainer, final=True)
        if trainer.is_global_zero:
            say(
                f"Saved after {trainer.global_step} updates in {self._path('last')}. To go on:",
                trainer,
            )
        raise SystemExit(128 + signal_number)

    # -- state ----------------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        """The same whatever the arguments, so that changing a period loses nothing."""
        return "RunCheckpoint"

    def state_dict(self) -> dict[str, Any]:
        """The best so far and the metric it is best in."""
        best = {"monitor": self.monitor, "mode": self.mode, "best": self.best}
        return {**best, "named": self._named, "validation_due": self._due}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the best over, if the metric is still the same, and what is still to be done."""
        self._owed = state_dict.get("validation_due", False)  # the first release did not say
        if (state_dict["monitor"], state_dict["mode"]) == (self.monitor, self.mode):
            best = state_dict["best"]  # a number, or None, before there were several students
            self.best = best if isinstance(best, dict) else {} if best is None else {"best": best}
            self._written_best, self._named = dict(self.best), state_dict.get("named", [])
            paths = [self._path(name) for name in self.best]
            self.best_model_path = next((str(path) for path in paths if path.exists()), "")


def flush(trainer: Trainer) -> None:
    """Has loggers write what they hold back: a resumed run logs only what follows the save."""
    for logger in trainer.loggers:
        logger.save()
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.flush()
