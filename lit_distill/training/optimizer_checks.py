"""What of an optimizer, configured or saved, cannot work: said before it steps."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import nn
from torch.optim import Optimizer

from lit_distill.errors import UserError

HIGHEST_RATE = 1e3
"""A learning rate above it is a slip of the exponent: numbers of that size leave float32."""

REFUSALS = (TypeError, ValueError, IndexError)
"""What optimizers raise about options that they cannot use."""


def one_number() -> list[nn.Parameter]:
    """The smallest list of parameters that an optimizer can be made of."""
    return [nn.Parameter(torch.zeros(1, 1))]


def check_optimizer(make: OptimizerCallable) -> None:
    """Tries an optimizer on a single number, and its options on what can be meant.

    Args:
        make: as a config gives it.

    Raises:
        UserError: it cannot be made, or a rate or another option is infinite, NaN or out of reach.
    """
    try:
        made = make(one_number())
    except REFUSALS as error:
        raise UserError(f"model.optimizer cannot be made: {error}.") from error
    check_finite("model.optimizer", made.defaults)
    rate = made.defaults.get("lr")
    if isinstance(rate, int | float) and not 0 <= rate <= HIGHEST_RATE:
        raise UserError(
            f"model.optimizer: the learning rate lr is {rate:g}: use a number from 0 to "
            f"{HIGHEST_RATE:g}; language models learn at 1e-6 to 1e-2."
        )


def check_options(make: OptimizerCallable, where: str, options: Mapping[str, Any]) -> None:
    """Tries an optimizer with the options that one model has of its own.

    Args:
        make: as a config gives it.
        where: the place of the options in the config.
        options: by name.

    Raises:
        UserError: the optimizer has no such option, or refuses its value.
    """
    made = make(one_number())
    accepted = inspect.signature(type(made)).parameters.keys() & made.defaults.keys()
    unknown = sorted(options.keys() - accepted)
    if unknown:
        raise UserError(
            f"{where}: {type(made).__name__} has no option {', '.join(unknown)}; it has "
            f"{', '.join(sorted(accepted - {'lr'}))}."
        )
    given = {name: value for name, value in made.defaults.items() if name in accepted}
    try:
        type(made)(one_number(), **{**given, **options})
    except REFUSALS as error:
        raise UserError(f"{where}: {type(made).__name__} cannot use them: {error}.") from error


def check_finite(where: str, options: Mapping[str, Any]) -> None:
    """Refuses options that are no finite numbers.

    Args:
        where: the place of the options in the config.
        options: by name; numbers, pairs of numbers, or anything else.

    Raises:
        UserError: one is infinite or NaN.
    """
    for name, value in options.items():
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise UserError(f"{where}: {name} is {value}: use finite numbers.")


def options_of(group: Mapping[str, Any]) -> dict[str, Any]:
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
    theirs, ours = ({*options_of(groups[0])} for groups in (saved, optimizer.param_groups))
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
