"""What accumulation asks of a loader and of the Trainer; see `lit_distill.losses.window`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from lightning.fabric.loggers.logger import Logger
from lightning.pytorch import Trainer
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import AccumulationWindow
from lit_distill.models import TeacherSource


def add_over_ranks(values: Tensor) -> Tensor:
    """In place; a strategy's own `reduce` waits for the device first."""
    torch.distributed.all_reduce(values)
    return values


def check_coupling(method: str, couples: Sequence[str], accumulate: int) -> None:
    """Refuses to accumulate gradients of losses over pairs of texts.

    Texts of different micro-batches are never compared: the sum over micro-batches is another loss
    than that of all their texts at once.

    Args:
        method: its name.
        couples: names of such terms of the method.
        accumulate: micro-batches of an update.

    Raises:
        UserError: there are such terms, and an update has several micro-batches.
    """
    if couples and accumulate > 1:
        raise UserError(
            f"{method} compares the texts of a batch with each other "
            f"({', '.join(couples)}), and trainer.accumulate_grad_batches is {accumulate}: "
            "texts of different micro-batches would not be compared, which is another loss. Set it "
            "to 1; more texts at once come from more devices, whose texts are compared too, from "
            "a larger data.init_args.batch_tokens, and from "
            "model.init_args.execution.gradient_checkpointing, which makes room for them."
        )


def micro_batches(first: Batch, expected: int) -> list[Batch]:
    """All micro-batches of an update, which its first one carries where there are several.

    Args:
        first: the first micro-batch, as the loader gives it.
        expected: `trainer.accumulate_grad_batches`.

    Raises:
        UserError: the loader's window has another size.
    """
    batches = first.get("window", [first])
    if len(batches) != expected:
        raise UserError(
            f"trainer.accumulate_grad_batches is {expected} and the loader's window holds "
            f"{len(batches)} batches: set it to 1, or use a data module of `data_modules`."
        )
    return batches


def read_ahead(batch: Batch, source: TeacherSource, accumulate: int) -> Batch:
    """A training batch with what a source keeps of it; the first of a window, of all of its own.

    Args:
        batch: as the loader gives it.
        source: where the method hears its teachers.
        accumulate: micro-batches of an update.
    """
    if accumulate == 1:
        read: Batch = source.read(batch)
        return read
    if "window" not in batch:  # the first batch of the window carried this one
        return batch
    return Batch(**{**batch, "window": [source.read(each) for each in batch["window"]]})


def undone_means(trainer: Trainer) -> int:
    """Factor of a micro-batch's part of the loss that undoes every mean taken after it.

    N already counts the micro-batches of all ranks. The Trainer divides each loss by their number
    on a rank, DeepSpeed's engine does so once more, and gradients are averaged over ranks.
    """
    accumulate = int(trainer.accumulate_grad_batches)
    again = accumulate if trainer.strategy.handles_gradient_accumulation else 1
    return accumulate * again * trainer.world_size


def is_logged(update: int, trainer: Any) -> bool:
    """Whether the means of an update (from 0) are logged.

    Args:
        update: how many came before.
        trainer: a Trainer, which sets `log_every_n_steps` without declaring it.
    """
    return bool((update + 1) % trainer.log_every_n_steps == 0)


def log_means(
    window: AccumulationWindow, loggers: Iterable[Logger], update: int, more: Mapping[str, float]
) -> dict[str, float]:
    """Logs the means of a window's terms as `train/<name>`, and the loss.

    Not by Lightning's `log`, whose bookkeeping costs 0.1 ms in every step, logged or not.

    Args:
        window: with all its micro-batches noted.
        loggers: where to.
        update: how many came before, as Lightning counts.
        more: numbers that are logged beside them.

    Returns:
        The means.
    """
    means = window.averages()
    named = {f"train/{name}": value for name, value in {**means, **more}.items()}
    for logger in loggers:
        logger.log_metrics(named, update)
    return means
