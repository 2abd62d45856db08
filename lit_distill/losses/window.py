"""The accumulation window: the batches of one update, and what their sums are divided by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.losses.term import LogitTerm, Term, Weight, weight_at

Reduce = Callable[[Tensor], Tensor]
"""Adds a tensor over all ranks."""


@dataclass
class AccumulationWindow:
    """The micro-batches of one update with the counts of all ranks and all micro-batches.

    Attributes:
        batches: this rank's micro-batches.
        totals: N by name of count, over the window and all ranks.
        progress: training progress in [0, 1] at this update, for scheduled weights.
        reduce: None for a single rank.
        means: unweighted means of the terms so far, for logging (this rank's part).
        factor: what the weight of a term of a name is multiplied with; None: with nothing.
    """

    batches: list[Batch]
    totals: dict[str, float | Tensor]
    progress: float
    reduce: Reduce | None
    means: dict[str, Tensor] = field(default_factory=dict)
    factor: Callable[[str], float] | None = None

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

    @classmethod
    def single(cls, batch: Batch, progress: float = 1.0) -> AccumulationWindow:
        """The window of one batch on one rank: for losses outside of training.

        Args:
            batch: the only micro-batch.
            progress: in [0, 1], for scheduled weights; 1 is the end of a run.
        """
        return cls.of([batch], progress, None, torch.device("cpu"))

    def weight(self, name: str, weight: Weight) -> float:
        """The factor of the mean of the term `name`, which has a weight of its own."""
        own = weight_at(weight, self.progress)
        return own if self.factor is None else own * self.factor(name)

    def leaves_out(self, name: str) -> bool:
        """Whether the term `name` is none of this update's, so that nothing need be computed."""
        return self.factor is not None and self.factor(name) == 0

    def weighed(self, terms: dict[str, Term]) -> dict[str, Term]:
        """The terms without those that the update leaves out."""
        if self.factor is None:
            return terms
        return {name: term for name, term in terms.items() if not self.leaves_out(name)}

    def share(self, per: str, weight: Weight) -> float | Tensor:
        """What a sum is multiplied with: weight / N. An empty count divides by 1."""
        total = self.totals[per]
        total = total.clamp(min=1) if isinstance(total, Tensor) else max(total, 1)
        return weight_at(weight, self.progress) / total

    def shares(self, terms: Mapping[str, LogitTerm | Term]) -> list[float | Tensor]:
        """What the sum of each term will be multiplied with."""
        return [self.share(t.per, self.weight(name, t.weight)) for name, t in terms.items()]

    def total_loss(self, terms: dict[str, Term]) -> Tensor:
        """This micro-batch's part of the weighted, normalised loss."""
        shares = self.shares(terms)
        sums = zip(terms.values(), shares, strict=True)
        return torch.stack([term.sum * share for term, share in sums]).sum()

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
