"""How gradients become updates: one optimizer over all models, each with settings of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lit_distill.errors import UserError
from lit_distill.knobs import Positive, check_knobs
from lit_distill.schedules import Schedule, parameter_groups
from lit_distill.training.optimizer_checks import (
    check_finite,
    check_optimizer,
    check_options,
    check_same_optimizer,
    options_of,
)

Players = Sequence[str] | None
"""Names of the models that move in an update, students and "auxiliary"; None: all."""


@dataclass(frozen=True)
class ModelUpdate:
    """What is different about the updates of one model.

    Attributes:
        rate: factor of the learning rate, > 0.
        clip: norm to which its gradient is clipped, or by the trainer's other algorithm the largest
            entry; None: `trainer.gradient_clip_val`.
        options: of the optimizer, in place of its own (`{maximize: true, betas: [0.5, 0.9]}`). A
            `weight_decay` is that of weights: biases and norms never decay.

    Raises:
        UserError: a number is not positive, or an option is not finite or is the learning rate.
    """

    rate: Positive = 1.0
    clip: Positive | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_knobs(ModelUpdate, vars(self))
        check_finite("ModelUpdate.options", self.options)
        if "lr" in self.options:
            raise UserError("ModelUpdate.options: lr is set by rate, a factor of the optimizer's.")


_USUAL = ModelUpdate()
"""Of models that `per_model` does not name; made once, as every update asks for it."""


class Updates:
    """The optimizer of a run over all its models, and who moves in an update.

    Every model has its own learning rate, options and clipping: one norm over all models would
    couple them, and a jump of one would stop the others.

    Attributes:
        optimizer: called with the groups of `parameter_groups` of every model.
        schedule: learning rate over the run.
        per_model: what is different, by the name of a student, or "auxiliary".
        total_steps: updates of the whole run, from `configure` on.
        parameters: all that trains, by the name of its model, from `configure` on.
        saved_groups: parameter groups of the optimizer that wrote the checkpoint, if there is one.
        resting: parameters that do not move now, whoever plays: those that a stage freezes where
            they have gradients all the same.
    """

    def __init__(
        self,
        optimizer: OptimizerCallable,
        schedule: Schedule,
        per_model: Mapping[str, ModelUpdate],
    ) -> None:
        self.optimizer, self.schedule, self.per_model = optimizer, schedule, per_model
        self.total_steps = 0
        self.parameters: dict[str, list[nn.Parameter]] = {}
        self.saved_groups: list[dict[str, Any]] | None = None
        self.resting: list[nn.Parameter] = []
        self._options: list[dict[str, Any]] = []
        self._kept_from_us = False  # the gradients: DeepSpeed has them to itself

    def check(self) -> None:
        """Tries the optimizer, and the options of single models.

        Raises:
            UserError: see `check_optimizer` and `check_options`.
        """
        check_optimizer(self.optimizer)
        for name, own in self.per_model.items():
            check_options(self.optimizer, f"per_model.{name}.options", own.options)

    def configure(self, models: Mapping[str, nn.Module], trainer: Trainer) -> dict[str, Any]:
        """One optimizer over all that trains, and its schedule, as Lightning takes them.

        Args:
            models: by name; of frozen ones nothing trains.
            trainer: of the run.

        Raises:
            UserError: the run has no end, a setting belongs to no model or cannot work, or the
                checkpoint was written by another optimizer.
        """
        total = trainer.estimated_stepping_batches
        if total == float("inf"):
            raise UserError("The run has no end: set trainer.max_steps or trainer.max_epochs.")
        self.total_steps = int(total)
        groups = [(name, own) for name, one in models.items() for own in parameter_groups(one)]
        self.parameters = {}
        for name, own in groups:
            self.parameters.setdefault(name, []).extend(own["params"])
        self._kept_from_us = trainer.strategy.handles_gradient_accumulation
        self._check_models()
        optimizer = self.optimizer([{**self._own(name).options, **own} for name, own in groups])
        for (name, _), group in zip(groups, optimizer.param_groups, strict=True):
            group["lr"] *= self._own(name).rate
            if len(self.parameters) > 1:  # as which its rate is logged
                group["name"] = name if group["params"][0].ndim > 1 else f"{name}/norms_and_biases"
        if self.saved_groups:
            check_same_optimizer(optimizer, self.saved_groups)
        self._check_clipping(optimizer, trainer)
        self._options = [options_of(group) for group in optimizer.param_groups]
        each_step = {"scheduler": self.schedule(optimizer, self.total_steps), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": each_step}

    def _own(self, name: str) -> ModelUpdate:
        return self.per_model.get(name, _USUAL)

    def _names(self) -> str:
        return ", ".join(sorted(self.parameters))

    def _check_models(self) -> None:
        for name in self.per_model:
            if name not in self.parameters:
                raise UserError(
                    f"per_model.{name}: there is no such model to train; there is {self._names()}."
                )
        self.check()

    def _check_clipping(self, optimizer: Optimizer, trainer: Trainer) -> None:
        own = any(each.clip for each in self.per_model.values())
        if not (own or trainer.gradient_clip_val):
            return
        if self._kept_from_us and (own or len(self.parameters) > 1):
            raise UserError(
                f"DeepSpeed clips the gradient of all models ({self._names()}) by one norm, which "
                "would couple them: set trainer.gradient_clip_val to null and leave "
                "per_model.*.clip out, or use configs/trainer/fsdp.yaml."
            )
        precision = trainer.precision_plugin
        scaled = isinstance(precision, MixedPrecision) and precision.scaler is not None
        if scaled and any(group.get("fused") for group in optimizer.param_groups):
            raise UserError(
                "A fused optimizer takes the loss scale of 16-mixed out of the gradients while it "
                "steps, after they were clipped: use bf16-mixed, leave fused out, or set "
                "trainer.gradient_clip_val to null."
            )

    def note_saved(self, checkpoint: Mapping[str, Any]) -> None:
        """Remembers the parameter groups of the optimizer that wrote a checkpoint."""
        states = checkpoint.get("optimizer_states")  # sharded ones are in no index
        self.saved_groups = states[0].get("param_groups", []) if states else []

    def start(self, trainer: Trainer, players: Callable[[int], Players]) -> None:
        """Mends what was restored of the optimizer, and checks who moves first.

        Args:
            trainer: of the run.
            players: who moves in an update; see `Distillation.players`.

        Raises:
            UserError: see `check_players`.
        """
        self.check_players(players(trainer.global_step))
        self._restore_options(trainer)
        self._forget_unmoved(trainer, players)

    def _forget_unmoved(self, trainer: Trainer, players: Callable[[int], Players]) -> None:
        """Drops the moments of models that have never moved, which FSDP2 makes up as it loads.

        They are zero, but of one step: the bias correction of the first update would be another.
        """
        resting = {*self.parameters}
        for update in range(trainer.global_step):
            resting.difference_update(players(update) or self.parameters)
            if not resting:
                return
        for parameter in self._parameters_of(resting):
            trainer.optimizers[0].state.pop(parameter, None)

    def _restore_options(self, trainer: Trainer) -> None:
        """Puts the options of the configuration back, which the saved optimizer's have replaced.

        Rates included: those of the configured schedule at the update that was reached. Of an
        unchanged configuration they are the saved ones, to the last bit.
        """
        if self.saved_groups is None:
            return
        scheduler = trainer.lr_scheduler_configs[0].scheduler
        assert isinstance(scheduler, LambdaLR)  # of `configure`
        groups = trainer.optimizers[0].param_groups
        scheduler.base_lrs = [options["lr"] for options in self._options]
        for group, options in zip(groups, self._options, strict=True):
            group.update(options, initial_lr=options["lr"])
        reached = zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        scheduler._last_lr = [rate * factor(scheduler.last_epoch) for rate, factor in reached]
        for group, rate in zip(groups, scheduler._last_lr, strict=True):
            group["lr"] = rate

    def check_players(self, players: Players) -> None:
        """Checks that models can move alone.

        Args:
            players: what the method's `players` says of an update.

        Raises:
            UserError: nobody moves, a name is no model's, or DeepSpeed keeps the gradients.
        """
        if players is None:
            return
        strangers = sorted(set(players) - self.parameters.keys())
        if strangers or not players:
            raise UserError(
                f"players names {', '.join(strangers) or 'nobody'}: there is {self._names()} to "
                "move."
            )
        if self._kept_from_us:
            raise UserError(
                "DeepSpeed keeps gradients to itself, so that no model can rest in an update: use "
                "DDP, or configs/trainer/fsdp.yaml."
            )

    def step(self, optimizer: Any, closure: Callable[[], Any], players: Players) -> None:
        """Makes one update, in which all models move or some, and frees its gradients.

        The optimizer leaves parameters without a gradient as they are: they do not decay, and
        their moments wait. Gradients of who rests are dropped before anything reads them: what is
        infinite about one who rests stops nobody.

        Args:
            optimizer: Lightning's, which wraps the one of `configure`.
            closure: the forward and backward pass of the update's last micro-batch.
            players: names of the models that move.

        Raises:
            UserError: see `check_players`.
        """
        self.check_players(players)
        resting = set[str]() if players is None else self.parameters.keys() - set(players)

        def run() -> Any:
            result = closure()
            self._drop_gradients(resting)
            self._drop_resting()
            return result

        optimizer.step(closure=run)
        if not self._kept_from_us:  # the Trainer would hold them over the next forward
            self._drop_gradients(self.parameters)

    def _drop_gradients(self, names: Iterable[str]) -> None:
        for parameter in self._parameters_of(names):
            parameter.grad = None

    def _drop_resting(self) -> None:
        for parameter in self.resting:
            parameter.grad = None

    def _parameters_of(self, names: Iterable[str]) -> Iterator[nn.Parameter]:
        return chain.from_iterable(self.parameters[name] for name in names)

    def clip(
        self, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips the gradient of every model by itself; DeepSpeed clips that of its only one.

        Args:
            gradient_clip_val: limit of models that have none of their own; None or 0: no limit.
            gradient_clip_algorithm: "norm" or "value"; None: "norm".
        """
        by_value = gradient_clip_algorithm == GradClipAlgorithmType.VALUE
        clip = clip_grad_value_ if by_value else clip_grad_norm_
        for name, parameters in self.parameters.items():
            limit = self._own(name).clip or gradient_clip_val
            if limit and not self._kept_from_us:
                clip(parameters, limit)
