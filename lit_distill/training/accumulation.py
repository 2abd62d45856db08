"""One accumulation window: the batches of one update, and what their sums are divided by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from lightning.fabric.loggers.logger import Logger
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import LogitTerm, Term, Weight, weight_at

if TYPE_CHECKING:
    from lit_distill.training.distillation import Distillation

Reduce = Callable[[Tensor], Tensor]
"""Adds a tensor over all ranks."""


def add_over_ranks(values: Tensor) -> Tensor:
    """In place; a strategy's own `reduce` waits for the device first."""
    torch.distributed.all_reduce(values)
    return values


def check_coupling(method: Distillation, stage: str) -> None:
    """Refuses to accumulate gradients of losses over pairs of texts.

    Texts of different micro-batches are never compared: the sum over micro-batches is another loss
    than that of all their texts at once.

    Args:
        method: with the names of such terms in `couples`.
        stage: "fit", or any other, which accumulates nothing.

    Raises:
        UserError: there are such terms, and an update has several micro-batches.
    """
    accumulate = method.trainer.accumulate_grad_batches
    if stage == "fit" and method.couples and accumulate > 1:
        raise UserError(
            f"{type(method).__name__} compares the texts of a batch with each other "
            f"({', '.join(method.couples)}), and trainer.accumulate_grad_batches is {accumulate}: "
            "texts of different micro-batches would not be compared, which is another loss. Set it "
            "to 1; more texts at once come from more devices, whose texts are compared too, from "
            "a larger data.init_args.batch_tokens, and from "
            "model.init_args.execution.gradient_checkpointing, which makes room for them."
        )


def check_window(batches: list[Batch], expected: int) -> None:
    """Checks that a loader's window holds the batches of one update.

    Raises:
        UserError: it holds more or fewer.
    """
    if len(batches) != expected:
        raise UserError(
            f"trainer.accumulate_grad_batches is {expected} and the loader's window holds "
            f"{len(batches)} batches: set it to 1, or use a data module of `data_modules`."
        )


@dataclass
class AccumulationWindow:
    """The micro-batches of one update with the counts of all ranks and all micro-batches.

    Attributes:
        batches: this rank's micro-batches.
        totals: N by name of count, over the window and all ranks.
        progress: training progress in [0, 1] at this update, for scheduled weights.
        reduce: None for a single rank.
        means: unweighted means of the terms so far, for logging (this rank's part).
    """

    batches: list[Batch]
    totals: dict[str, float | Tensor]
    progress: float
    reduce: Reduce | None
    means: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls, batches: list[Batch], progress: float, reduce: Reduce | None, device: torch.device
    ) -> AccumulationWindow:
        """Counts a window; `reduce` is None for a single rank (then no tensor is made)."""
        names = sorted(batches[0]["counts"])
        sums = [sum(batch["counts"][name] for batch in batches) for name in names]
        totals: dict[str, float | Tensor] = dict(zip(names, sums, strict=True))
        if reduce is not None:
            counts = reduce(torch.tensor(sums, dtype=torch.float64, device=device))
            totals = dict(zip(names, counts.unbind(), strict=True))
        return cls(batches, totals, progress, reduce)

    def share(self, per: str, weight: Weight) -> float | Tensor:
        """What a sum is multiplied with: weight / N. An empty count divides by 1."""
        total = self.totals[per]
        total = total.clamp(min=1) if isinstance(total, Tensor) else max(total, 1)
        return weight_at(weight, self.progress) / total

    def shares(self, terms: Mapping[str, LogitTerm]) -> list[float | Tensor]:
        """What the sum of each term will be multiplied with."""
        return [self.share(term.per, term.weight) for term in terms.values()]

    def total_loss(self, terms: dict[str, Term]) -> Tensor:
        """This micro-batch's part of the weighted, normalised loss."""
        return torch.stack([t.sum * self.share(t.per, t.weight) for t in terms.values()]).sum()

    def note(self, terms: dict[str, Term], loss: Tensor) -> None:
        """Adds this micro-batch to the means that are logged."""
        parts = {name: t.sum.detach() * self.share(t.per, 1.0) for name, t in terms.items()}
        for name, part in {**parts, "loss": loss.detach()}.items():
            self.means[name] = self.means[name] + part if name in self.means else part

    def averages(self) -> dict[str, float]:
        """The means over all ranks, with one wait for the device."""
        values = torch.stack([value.float() for value in self.means.values()])
        if self.reduce is not None:
            values = self.reduce(values)
        return dict(zip(self.means, values.tolist(), strict=True))

    def log(self, loggers: Sequence[Logger], updates: int) -> dict[str, float]:
        """Logs `train/<term>` and `train/loss`, and returns them by name.

        Not by Lightning's `log`, whose bookkeeping costs 0.1 ms in every step, logged or not.

        Args:
            loggers: of the run.
            updates: how many there were before, as Lightning counts.
        """
        averages = self.averages()
        for logger in loggers:
            logger.log_metrics({f"train/{name}": v for name, v in averages.items()}, updates)
        return averages
