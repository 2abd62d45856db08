"""The part of a method that turns gradients into updates: one optimizer over all models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.strategies import DeepSpeedStrategy
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lit_distill.errors import UserError
from lit_distill.knobs import Positive, check_knobs
from lit_distill.models import broadcast_buffers
from lit_distill.schedules import Schedule, parameter_groups


@dataclass(frozen=True)
class ModelUpdate:
    """What is different about the updates of one model.

    Attributes:
        rate: factor of the learning rate, > 0.
        clip: norm to which its gradient is clipped, or by the trainer's other algorithm the largest
            entry; None: `trainer.gradient_clip_val`.

    Raises:
        UserError: one is not positive.
    """

    rate: Positive = 1.0
    clip: Positive | None = None

    def __post_init__(self) -> None:
        check_knobs(ModelUpdate, vars(self))


HIGHEST_RATE = 1e3
"""A learning rate above it is a slip of the exponent: numbers of that size leave float32."""


def check_optimizer(make: OptimizerCallable) -> None:
    """Tries an optimizer on a single number, and its options on what can be meant.

    Args:
        make: as a config gives it.

    Raises:
        UserError: it cannot be made, or a rate or another option is infinite, NaN or out of reach.
    """
    try:
        made = make([nn.Parameter(torch.zeros(1, 1))])
    except (TypeError, ValueError) as error:
        raise UserError(f"model.optimizer cannot be made: {error}.") from error
    for name, value in made.defaults.items():
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise UserError(f"model.optimizer: {name} is {value}: use finite numbers.")
    rate = made.defaults.get("lr")
    if isinstance(rate, int | float) and not 0 <= rate <= HIGHEST_RATE:
        raise UserError(
            f"model.optimizer: the learning rate lr is {rate:g}: use a number from 0 to "
            f"{HIGHEST_RATE:g}; language models learn at 1e-6 to 1e-2."
        )


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter group without its parameters."""
    return {name: value for name, value in group.items() if name != "params"}


def check_same_optimizer(optimizer: Optimizer, saved: Sequence[Mapping[str, Any]]) -> None:
    """Refuses to load the state of an optimizer of another kind, or of other parameters.

    Args:
        optimizer: as configured.
        saved: the parameter groups of the one that wrote the checkpoint.

    Raises:
        UserError: with what differs.
    """
    instead = (
        "Go on with the configuration that wrote the checkpoint, or start a new run (another "
        "--run_dir) from the exported student with PretrainedStudent."
    )
    theirs, ours = ({*_options(groups[0])} for groups in (saved, optimizer.param_groups))
    ignored = {"initial_lr", "name"}
    if (theirs ^ ours) - ignored:
        raise UserError(
            f"The checkpoint was written with another optimizer than {type(optimizer).__name__}: "
            f"its options are {', '.join(sorted(theirs - ignored))}, and now they are "
            f"{', '.join(sorted(ours - ignored))}. Its state means nothing to this one. {instead}"
        )
    sizes = [
        [len(group["params"]) for group in groups] for groups in (saved, optimizer.param_groups)
    ]
    if sizes[0] != sizes[1]:
        raise UserError(
            f"The checkpoint's optimizer has parameter groups of {sizes[0]} tensors, and now they "
            f"are of {sizes[1]}: other parameters are trained. {instead}"
        )


class Updated(LightningModule):
    """Gives every model its own learning rate and clips its gradient by its own norm.

    One norm over all models would couple them: a jump of one would stop the others.

    Attributes:
        optimizer: called with the groups of `parameter_groups` of every model.
        schedule: learning rate over the run.
        per_model: by the name of a student, or "auxiliary".
    """

    students: nn.ModuleDict
    auxiliary: nn.ModuleDict

    def __init__(
        self,
        optimizer: OptimizerCallable,
        schedule: Schedule,
        per_model: Mapping[str, ModelUpdate],
    ) -> None:
        super().__init__()
        self.optimizer, self.schedule, self.per_model = optimizer, schedule, per_model
        self.saved_groups: list[dict[str, Any]] | None = None  # of the checkpoint, if there is one

    def configure_optimizers(self) -> Any:
        """One optimizer over all that trains; no weight decay on biases and norms."""
        total = self.trainer.estimated_stepping_batches
        if total == float("inf"):
            raise UserError("The run has no end: set trainer.max_steps or trainer.max_epochs.")
        self._total_steps = int(total)
        groups = list(self._groups())
        self._check_updates(sorted({name for name, _ in groups}))
        several = len({name for name, _ in groups}) > 1
        optimizer = self.optimizer([group for _, group in groups])
        for (name, _), group in zip(groups, optimizer.param_groups, strict=True):
            group["lr"] *= self.per_model.get(name, ModelUpdate()).rate
            if several:  # as which its rate is logged
                group["name"] = name if group["params"][0].ndim > 1 else f"{name}/norms_and_biases"
        self._own: dict[str, list[nn.Parameter]] = {}
        for name, group in groups:
            self._own.setdefault(name, []).extend(group["params"])
        if self.saved_groups:
            check_same_optimizer(optimizer, self.saved_groups)
        self._options = [_options(group) for group in optimizer.param_groups]
        each_step = {"scheduler": self.schedule(optimizer, self._total_steps), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": each_step}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes the groups of the optimizer that wrote the checkpoint."""
        states = checkpoint.get("optimizer_states")  # sharded ones are in no index
        self.saved_groups = states[0].get("param_groups", []) if states else []

    def on_train_start(self) -> None:
        """Puts the options of the configuration back, which the saved optimizer's have replaced.

        Rates included: those of the configured schedule at the update that was reached. Of an
        unchanged configuration they are the saved ones, to the last bit.
        """
        if self.saved_groups is None:
            return
        scheduler = cast(LambdaLR, self.trainer.lr_scheduler_configs[0].scheduler)
        groups = self.trainer.optimizers[0].param_groups
        scheduler.base_lrs = [options["lr"] for options in self._options]
        for group, options in zip(groups, self._options, strict=True):
            group.update(options, initial_lr=options["lr"])
        reached = zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        scheduler._last_lr = [rate * factor(scheduler.last_epoch) for rate, factor in reached]
        for group, rate in zip(groups, scheduler._last_lr, strict=True):
            group["lr"] = rate

    def _groups(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Names of models and their parameter groups; of frozen models there are none."""
        for name, model in (*self.students.items(), ("auxiliary", self.auxiliary)):
            for group in parameter_groups(model):
                yield name, group

    def _check_updates(self, names: list[str]) -> None:
        for name in self.per_model:
            if name not in names:
                raise UserError(
                    f"per_model.{name}: there is no such model to train; there is "
                    f"{', '.join(names)}."
                )
        apart = len(names) > 1 or any(own.clip for own in self.per_model.values())
        clips = self.trainer.gradient_clip_val or any(o.clip for o in self.per_model.values())
        if isinstance(self.trainer.strategy, DeepSpeedStrategy) and apart and clips:
            raise UserError(
                f"DeepSpeed clips the gradient of all models ({', '.join(names)}) by one norm, "
                "which would couple them: set trainer.gradient_clip_val to null and leave "
                "per_model.*.clip out, or use configs/trainer/fsdp.yaml."
            )

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Frees the gradients of an update: the Trainer would keep them over the next forward."""
        super().optimizer_step(*args, **kwargs)
        if self.device_mesh is not None:  # DDP has done it before the forward
            broadcast_buffers(self.auxiliary)
        if not self.trainer.strategy.handles_gradient_accumulation:  # DeepSpeed frees its own
            for model in (*self.students.values(), self.auxiliary):
                model.zero_grad(set_to_none=True)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips every model by itself."""
        algorithm = GradClipAlgorithmType(gradient_clip_algorithm or GradClipAlgorithmType.NORM)
        groups = optimizer.param_groups
        try:
            for name, parameters in self._own.items():
                clip = self.per_model.get(name, ModelUpdate()).clip or gradient_clip_val or 0.0
                optimizer.param_groups = [{"params": parameters}]  # all that is looked at
                self.trainer.precision_plugin.clip_gradients(optimizer, clip, algorithm)
        finally:
            optimizer.param_groups = groups
