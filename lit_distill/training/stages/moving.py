"""Who trains in a stage: how parameters rest, at which rate the others learn, what is put back."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR

from lit_distill.training.stages.parts import Names
from lit_distill.training.stages.staged_method import Moves


def can_cut_graph(trainer: Trainer) -> bool:
    """Whether parameters may stop to require gradients, so that nothing is computed below them.

    FSDP2 has made up its mind about that when it split them.
    """
    return isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)


def let_train(
    trained: Collection[nn.Parameter], every: Names, updates: Moves, trainer: Trainer
) -> None:
    """Has some parameters train and no others.

    A parameter without a gradient is left alone by the optimizer: it does not decay, and its
    moments wait.

    Args:
        trained: those that train.
        every: all that train in any stage.
        updates: of the run.
        trainer: of the run.
    """
    if not can_cut_graph(trainer):
        updates.resting = [p for p in every.values() if p not in trained]
        return
    changed = [p for p in every.values() if p.requires_grad != (p in trained)]
    for parameter in changed:
        parameter.requires_grad_(parameter in trained)
    if changed:
        _wrap_again(trainer)


def _wrap_again(trainer: Trainer) -> None:
    """Has DDP wait for the gradients that there are now, and for no others."""
    strategy: Any = trainer.strategy
    wrapped: Any = strategy.model
    if isinstance(wrapped, DistributedDataParallel):
        wrapped._remove_autograd_hooks()  # type: ignore[no-untyped-call]
        strategy.model = strategy.lightning_module
        del wrapped
        gc.collect()  # its buckets are as large as the gradients
        strategy.configure_ddp()


def scale_rates(trainer: Trainer, rate: Callable[[], float]) -> None:
    """Has the schedule's learning rates multiplied with a factor, asked for at every update."""

    def scaled(factor: Callable[[int], float]) -> Callable[[int], float]:
        return lambda step: factor(step) * rate()  # a plain function: schedulers save no others

    scheduler = _scheduler(trainer)
    scheduler.lr_lambdas = [scaled(factor) for factor in scheduler.lr_lambdas]


def renew_rates(trainer: Trainer) -> None:
    """Has the factor that `scale_rates` multiplies with count from the next update on."""
    scheduler = _scheduler(trainer)
    own = zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
    scheduler._last_lr = [base * factor(scheduler.last_epoch) for base, factor in own]
    for group, rate in zip(scheduler.optimizer.param_groups, scheduler._last_lr, strict=True):
        group["lr"] = rate


def _scheduler(trainer: Trainer) -> LambdaLR:
    (config,) = trainer.lr_scheduler_configs
    assert isinstance(config.scheduler, LambdaLR)  # of `Updates.configure`
    return config.scheduler


@torch.inference_mode(False)  # validations run in it, and what is made in it cannot train
def copied(parameters: Names) -> dict[str, Tensor]:
    """Whole copies on the CPU; all ranks ask together."""
    found = {}
    for name, parameter in parameters.items():
        own = parameter.detach()
        found[name] = (own.full_tensor() if isinstance(own, DTensor) else own).cpu().clone()
    return found


@torch.no_grad()
def put_back(weights: Mapping[str, Tensor], parameters: Names, trainer: Trainer) -> None:
    """Gives parameters the values of `copied`; their moments, of other values, are forgotten."""
    (optimizer,) = trainer.optimizers
    for part in trainer.lightning_module.modules():
        if isinstance(part, FSDPModule):  # or it would go on with what it gathered before
            part.reshard()
    for name, value in weights.items():
        parameter, whole = parameters[name], value.to(parameters[name].device)
        if isinstance(parameter, DTensor):
            whole = distribute_tensor(whole, parameter.device_mesh, parameter.placements)
        parameter.copy_(whole)
        optimizer.state.pop(parameter, None)


def names_with_moments(parameters: Names, trainer: Trainer) -> list[str]:
    """Names of what the optimizer has a state of."""
    if not trainer.optimizers:
        return []
    states = trainer.optimizers[0].state
    return [name for name, parameter in parameters.items() if states.get(parameter)]


def forget_moments(names: Collection[str], parameters: Names, trainer: Trainer) -> None:
    """Drops the optimizer's states of all but these, which FSDP2 makes up as it loads."""
    for name, parameter in parameters.items():
        if name not in names:
            trainer.optimizers[0].state.pop(parameter, None)
