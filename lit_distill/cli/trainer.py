"""Options of Lightning's Trainer: what trains nothing, measures nothing or ends in a traceback."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, Trainer

from data_modules import Corpus
from lit_distill.errors import UserError

_MOST = 2**31 - 1
_ALL = ("fit", "validate", "test")
REFUSALS = (MisconfigurationException, TypeError, ValueError, RuntimeError, ImportError, KeyError)
"""How Lightning refuses an option."""
Where = Callable[[Sequence[str], str], str]
"""Says where a key stands, for the beginning of a message."""


@dataclass(frozen=True)
class Option:
    """The values of an option with which a command can work.

    Attributes:
        name: of the option.
        takes: whether a value that is not null is one.
        wanted: them in words, as `a whole number of at least 1`.
        commands: those that read it.
    """

    name: str
    takes: Callable[[Any], bool]
    wanted: str
    commands: Sequence[str] = _ALL


def check_trainer(command: str, trainer: Mapping[str, Any], where: Where) -> None:
    """Refuses numbers of the Trainer with which a command cannot work, or would do nothing.

    Args:
        command: fit, validate or test.
        trainer: its options as parsed.
        where: gives the place of a key path and a value.

    Raises:
        UserError: with the first one, its place and its value.
    """
    for option in OPTIONS:
        value = trainer[option.name]
        if command in option.commands and value is not None and not option.takes(value):
            place = where(("trainer", option.name), str(value))
            raise UserError(f"{place}{value!r} cannot work: use {option.wanted}.")
    if _on_cpu(trainer["accelerator"]) and not _counts_processes(trainer["devices"]):
        place = where(("trainer", "devices"), str(trainer["devices"]))
        raise UserError(
            f"{place}{trainer['devices']!r} cannot work on CPU, whose devices are processes: use "
            "a whole number of at least 1."
        )
    epochs, endless = trainer["max_epochs"], trainer["max_steps"] == -1
    if command == "fit" and endless and (epochs == -1 or (epochs is None and trainer["max_time"])):
        raise UserError(
            "The run has no end, and its schedule needs one: set trainer.max_steps or "
            "trainer.max_epochs."
        )


def check_batches(trainer: Mapping[str, Any], data: LightningDataModule) -> None:
    """Refuses what does not fit the batches of a `Corpus` that is to be trained on.

    Args:
        trainer: its options as parsed.
        data: other data modules do not say how long an epoch is before they have been set up.

    Raises:
        UserError: a validation after more batches than an epoch has, an epoch that ends inside an
            update, or `overfit_batches`.
    """
    if not isinstance(data, Corpus):
        return
    if trainer["overfit_batches"]:
        raise UserError(
            f"trainer.overfit_batches is {trainer['overfit_batches']}, and a corpus draws other "
            "batches in every epoch. To see whether a student learns a few lines by heart, give a "
            "file of those lines as the only source of the data."
        )
    limit, accumulate = trainer["limit_train_batches"], trainer["accumulate_grad_batches"]
    batches = data.updates_per_epoch * accumulate
    if limit is not None:
        batches = min(batches, limit) if _is_whole(limit) else int(batches * limit)
    if batches == 0 or batches % accumulate:
        raise UserError(
            f"trainer.limit_train_batches is {limit}, which leaves {batches} batches of an epoch, "
            f"and an update takes {accumulate}: use a multiple of that."
        )
    interval = trainer["val_check_interval"]
    if not _is_whole(interval) or trainer["check_val_every_n_epoch"] is None:
        return
    if interval > batches and trainer["limit_val_batches"] != 0:
        raise UserError(
            f"trainer.val_check_interval is {interval} batches, and an epoch has {batches}: use at "
            "most that, or count over epochs with --trainer.check_val_every_n_epoch null."
        )


def make_trainer(make: Callable[[], Trainer]) -> Trainer:
    """Lightning's Trainer; its objections come as errors of many kinds.

    Args:
        make: calls its constructor.

    Raises:
        UserError: an option is none of its values, or they do not go together.
    """
    try:
        return make()
    except REFUSALS as error:
        plain = isinstance(error, MisconfigurationException | ValueError)
        said = str(error) if plain else f"These options of the trainer cannot work: {error}"
        raise UserError(" ".join(said.split())) from error


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: _is_whole(value) and least <= value <= _MOST


def _whole_or_minus_one(value: Any) -> bool:
    return _is_whole(value) and (value == -1 or 1 <= value <= _MOST)


def _part(none: bool) -> Callable[[Any], bool]:
    """Batches as a number, or as a share of all."""

    def takes(value: Any) -> bool:
        if _is_whole(value):
            return bool(value >= (0 if none else 1))
        return isinstance(value, float) and (value >= 0 if none else value > 0) and value <= 1

    return takes


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _interval(value: Any) -> bool:
    if isinstance(value, int | float):
        return _part(none=False)(value)
    return bool(value)  # a time


def _clip(value: Any) -> bool:
    return not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _devices(value: Any) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"auto|-1|[1-9]\d*|\d+(,\d+)*,|\d+(,\d+)+", value.strip()))
    if isinstance(value, list):
        return bool(value) and all(_is_whole(item) and item >= 0 for item in value)
    return _whole_or_minus_one(value)


def _counts_processes(devices: Any) -> bool:
    return bool(re.fullmatch(r"auto|[1-9]\d*", str(devices).strip()))


def _on_cpu(accelerator: Any) -> bool:
    others = torch.cuda.is_available() or torch.backends.mps.is_available()
    return accelerator == "cpu" or (accelerator == "auto" and not others)


_FIT = ("fit",)
_COUNT = "a whole number of at least 1"
_PART = f"{_COUNT} or a share in (0, 1]"
_PART_OR_NONE = "a whole number of at least 0 or a share in [0, 1]"
OPTIONS = (
    Option(
        "max_steps", _whole_or_minus_one, f"{_COUNT}, or -1 where max_epochs ends the run", _FIT
    ),
    Option(
        "max_epochs", _whole_or_minus_one, f"{_COUNT}, or -1 where max_steps ends the run", _FIT
    ),
    Option("min_steps", _whole(0), "a whole number of at least 0", _FIT),
    Option("min_epochs", _whole(0), "a whole number of at least 0", _FIT),
    Option("limit_train_batches", _part(none=False), f"{_PART}", _FIT),
    Option("limit_val_batches", _part(none=True), _PART_OR_NONE, _FIT),
    Option("limit_val_batches", _part(none=False), _PART, ("validate",)),
    Option("limit_test_batches", _part(none=False), _PART, ("test",)),
    Option("overfit_batches", _part(none=True), _PART_OR_NONE, _FIT),
    Option(
        "val_check_interval",
        _interval,
        f"{_COUNT} (batches) or a share of an epoch in (0, 1]; --trainer.limit_val_batches 0 "
        "leaves validation out",
        _FIT,
    ),
    Option(
        "check_val_every_n_epoch",
        _whole(1),
        f"{_COUNT}, or null to count batches over epochs",
        _FIT,
    ),
    Option("num_sanity_val_steps", _whole(-1), "a whole number of at least 0, or -1 for all"),
    Option("log_every_n_steps", _whole(1), f"{_COUNT}; --trainer.logger false logs nothing"),
    Option("accumulate_grad_batches", _whole(1), _COUNT),
    Option("gradient_clip_val", _clip, "a finite number of at least 0; 0 and null clip nothing"),
    Option("gradient_clip_algorithm", lambda value: value in ("norm", "value"), "norm or value"),
    Option(
        "fast_dev_run",
        lambda value: isinstance(value, bool) or _whole(0)(value),
        "true, false or a count",
    ),
    Option("reload_dataloaders_every_n_epochs", _whole(0), "a whole number of at least 0"),
    Option(
        "barebones",
        lambda value: not value,
        "false; --trainer.logger false, --trainer.enable_checkpointing false and --export_student "
        "false leave out what it does",
        _FIT,
    ),
    Option("num_nodes", _whole(1), _COUNT),
    Option(
        "devices", _devices, "a count of at least 1, -1 (all), auto, or a list of indices as [0, 1]"
    ),
)
"""What is checked; null is left to the Trainer."""
