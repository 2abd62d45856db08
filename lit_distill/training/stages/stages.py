"""The stages of a run: the only thing beside the optimizer that changes what trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import nn

from lit_distill.errors import UserError
from lit_distill.losses import AccumulationWindow
from lit_distill.training.stages import moving
from lit_distill.training.stages.parts import Parts
from lit_distill.training.stages.progress import Progress
from lit_distill.training.stages.reach import reached_in, term_names
from lit_distill.training.stages.stage import Plateau, Stage, check_order
from lit_distill.training.stages.staged_method import StagedMethod, staged
from lit_distill.training.stages.watching import (
    LOSS,
    StageMeasure,
    check_watched,
    watched_value,
)


class Stages(Callback):
    """Leads a run through its stages; a run without any is not touched.

    It comes before all other callbacks but `EndOfValidation`, so that what they save is what a
    resumed run goes on from. Stages change before the first micro-batch of an update. Before the
    first one of a process, the losses of that batch show what each stage reaches.

    Args:
        plan: the stages in order; None: there are none.

    Attributes:
        progress: where the run is.

    Raises:
        UserError: see `check_order`.
    """

    def __init__(self, plan: Sequence[Stage] | None = None) -> None:
        self.plan = plan or []
        check_order(self.plan)
        self.progress = Progress(self.plan)
        self._early: AccumulationWindow | None = None
        self._trained: list[set[nn.Parameter]] = []  # by stage, once a batch was there
        self._terms: list[str] = []
        self._moments: list[str] | None = None
        self._parts: Parts
        self._measure: StageMeasure
        self._trainer: Trainer | None = None

    # -- what a window asks ---------------------------------------------------------------------

    @property
    def factor(self) -> Callable[[str], float] | None:
        """What the weight of a term of a name is multiplied with now; None: with nothing."""
        return self._factor if self.plan else None

    def _factor(self, term: str) -> float:
        return self.progress.stage.factor(term)

    def last_factor(self, term: str) -> float:
        """Likewise, in the last stage."""
        return self.plan[-1].factor(term) if self.plan else 1.0

    def take_window(self) -> AccumulationWindow | None:
        """The window that was opened for a look at its losses, once."""
        window, self._early = self._early, None
        return window

    # -- where the run is -----------------------------------------------------------------------

    def attach(self, trainer: Trainer) -> None:
        """Puts itself before the callbacks of a Trainer, once.

        Raises:
            UserError: DeepSpeed keeps weights and gradients to itself.
        """
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if not self.plan or self in callbacks:
            return
        if trainer.strategy.handles_gradient_accumulation:
            raise UserError(
                "DeepSpeed keeps gradients and weights of its own, so that no stage can freeze or "
                "restore any: use DDP, or configs/trainer/fsdp.yaml, or leave model.stages out."
            )
        callbacks.insert(0, self)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds out what each stage can train; refuses what cannot work."""
        module = staged(pl_module)
        trained = (p for own in module.updates.parameters.values() for p in own)
        self._parts = Parts(pl_module, module.cast.student_models, trained)
        self._trainer, self._trained = trainer, []
        self._measure = StageMeasure(module, self._factor)
        for stage in self.plan:
            self._parts.of(stage)
            if stage.is_watched:
                check_watched(stage, module, trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Goes on where the checkpoint was; a run that its last stage has ended, ends."""
        if self._moments is not None:
            moving.forget_moments(self._moments, self._parts.parameters, trainer)
        if any(stage.rate != 1 for stage in self.plan):
            moving.scale_rates(trainer, lambda: self.progress.stage.rate)
        self._end_if_over(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Before the first micro-batch of an update: goes on to the stage that it is of."""
        if batch_idx % trainer.accumulate_grad_batches:
            return
        module, first = staged(pl_module), not self._trained
        before = self.progress.number
        while self.progress.is_over(trainer.global_step) and not self.progress.is_last:
            self._leave(trainer)
        if first:
            self._look(trainer, module, batch)
        if first or self.progress.number != before:
            self._enter(trainer, module)

    def _look(self, trainer: Trainer, module: StagedMethod, batch: Any) -> None:
        """Finds what the terms of each stage reach; refuses stages that learn nothing."""
        with trainer.precision_plugin.train_step_context():
            window = self._early = module.open_window(batch)
        self._terms = term_names(module, window)
        for stage in self.plan:
            stage.check_terms(self._terms)
            trained = {*self._parts.of(stage).values()}
            if moving.can_cut_graph(trainer):
                trained &= reached_in(module, window, stage)
            if not trained:
                raise UserError(
                    f"Stage {stage.name}: its terms ({', '.join(self._weighed(stage))}) reach "
                    "nothing of what it trains: train more, or weigh another term."
                )
            self._trained.append(trained)

    def _weighed(self, stage: Stage) -> list[str]:
        return [term for term in self._terms if stage.factor(term) != 0]

    def _leave(self, trainer: Trainer) -> None:
        """Ends the present stage, restoring its best where it is to."""
        progress, stage = self.progress, self.progress.stage
        if stage.restore_best and progress.weights:
            moving.put_back(progress.weights, self._parts.parameters, trainer)
            text = f"the weights of its best validation, after update {progress.best_at}, are back"
            rank_zero_info(f"Stage {stage.name} has ended: {text}.")
        elif stage.restore_best:
            rank_zero_warn(
                f"Stage {stage.name} ends without a validation that found a number: its weights "
                "stay what they are (trainer.val_check_interval)."
            )
        progress.next(trainer.global_step)

    def _enter(self, trainer: Trainer, module: StagedMethod) -> None:
        """Has the present stage's parameters train at its rate, and says so."""
        progress, stage = self.progress, self.progress.stage
        trained = self._trained[progress.number]
        moving.let_train(trained, self._parts.parameters, module.updates, trainer)
        if any(each.rate != 1 for each in self.plan):
            moving.renew_rates(trainer)
        every = sum(p.numel() for p in self._parts.parameters.values())
        text = (
            f"Stage {progress.number + 1} of {len(self.plan)}, {stage.name}, "
            f"{_ends(stage)}: {sum(p.numel() for p in trained):,} of {every:,} parameters learn "
            f"{', '.join(self._weighed(stage))}."
        )
        rank_zero_info(text)
        if trainer.global_step == progress.began:
            for logger in trainer.loggers if trainer.is_global_zero else ():
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_text("stage", text, trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs the number of the stage, from 1, beside the means of the terms."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        update, number = trainer.global_step - 1, self.progress.number + 1
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            staged(pl_module).logged["stage"] = number
            for logger in trainer.loggers:
                logger.log_metrics({"train/stage": number}, update)
        self._end_if_over(trainer)

    def _end_if_over(self, trainer: Trainer) -> None:
        if self.progress.is_last and self.progress.is_over(trainer.global_step):
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets all parameters require gradients again, as they did before."""
        every = self._parts.parameters
        if self._trained:
            for parameter in every.values():
                parameter.requires_grad_(True)
        staged(pl_module).updates.resting, self._trained = [], []

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Likewise, for a process that fits once more."""
        if self._trainer is not None:
            self.on_train_end(trainer, pl_module)

    # -- what validations say -------------------------------------------------------------------

    def _watches(self, trainer: Trainer) -> bool:
        return trainer.state.fn == TrainerFn.FITTING and self.progress.stage.is_watched

    def _measures(self, trainer: Trainer) -> bool:
        return self._watches(trainer) and self.progress.stage.monitor is None

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts to measure the stage's loss, where it is watched by that."""
        if self._measures(trainer):
            self._measure.start()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Adds a batch."""
        if self._measures(trainer):
            with trainer.precision_plugin.val_step_context():
                self._measure.update(batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the stage's loss."""
        if self._measures(trainer):
            self._value = self._measure.loss()
            pl_module.log(LOSS, self._value, sync_dist=True, rank_zero_only=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Counts the validation, and keeps the weights if it is the stage's best."""
        if not self._watches(trainer):
            return
        progress, stage = self.progress, self.progress.stage
        own = stage.monitor is None
        value = self._value if own else watched_value(stage, staged(pl_module), trainer)
        value = float(trainer.strategy.broadcast(value))
        if trainer.sanity_checking or progress.flat:
            return
        if progress.see(value, trainer.global_step) and stage.restore_best:
            progress.weights = moving.copied(self._parts.of(stage))
        self._end_if_over(trainer)

    # -- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where the run is, the best weights of the stage, and what has moments."""
        moments = []
        if self._trainer is not None:
            moments = moving.names_with_moments(self._parts.parameters, self._trainer)
        return {**self.progress.state(), "moments": moments}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on from there.

        Raises:
            UserError: see `Progress.restore`.
        """
        self.progress.restore(state_dict)
        self._moments = state_dict["moments"]


def _ends(stage: Stage) -> str:
    if stage.until is None:
        return "to the end"
    return "until a plateau" if isinstance(stage.until, Plateau) else f"until {stage.until}"
