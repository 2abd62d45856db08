"""What accumulation asks of a loader and of the Trainer; see `lit_distill.losses.window`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
        return source.read(batch)
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
