"""Terms on logits that are made whole: of few outputs, where a decision is not one row's.

Choices among texts, ends of an answer among its positions and predicted numbers are read off all
logits at once; so are losses whose rows are coupled.

Shapes: N rows, V outputs, D decisions, C options of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from lit_distill.batch import LabelledBatch
from lit_distill.losses import (
    AccumulationWindow,
    DynamicTemperatureKL,
    HardLoss,
    RowLoss,
    SoftLoss,
    SquaredError,
    Term,
    Weight,
)

Decided = tuple[Tensor, Tensor | None, Tensor]
"""Logits (D, C) of a student, those of its teacher, and targets (D,): columns."""


def whole_terms(
    terms: Mapping[str, tuple[SoftLoss | HardLoss, Weight]],
    per: str,
    window: AccumulationWindow,
    batch: LabelledBatch,
    student: Tensor,
    teacher: Tensor | None,
    decisions: str | None = None,
) -> dict[str, Term]:
    """Every term's sum over the decisions of a batch.

    Args:
        terms: losses and their weights by name.
        per: what the sums are divided by; see `Term`.
        window: which adds the distances of a `DynamicTemperatureKL` over all ranks.
        batch: whose decisions they are.
        student: logits (N, V) at the batch's rows; gradients flow into them.
        teacher: logits (N, V) at its own rows, or None.
        decisions: the count of all decisions, where `per` is another one.
    """
    groups = list(_decisions(student, teacher, batch))
    found, share = {}, window.share(decisions or per, 1.0)
    for name, (loss, weight) in terms.items():
        if isinstance(loss, SquaredError):
            parts = [loss(student.squeeze(-1), batch["values"])]
        elif isinstance(loss, DynamicTemperatureKL):
            mean = _sum_of_distances(loss, groups, student, window) * share
            parts = [loss.around(mean)(*group) for group in groups]
        else:
            parts = [cast(RowLoss, loss)(*group) for group in groups]
        # Nothing to decide is a gradient of zero: ranks would wait for one.
        total = torch.stack([student[:0].sum(), *(part.sum() for part in parts)]).sum()
        found[name] = Term(total, per, weight)
    return found


def _decisions(student: Tensor, teacher: Tensor | None, batch: LabelledBatch) -> Iterator[Decided]:
    """Logits of the decisions, those with equally many options together.

    So no loss meets an option that is none: smoothing and distances would count it.
    """
    if "options" not in batch:  # a row is a decision
        yield student, teacher, batch["targets"]
        return
    sizes = (batch["options"] >= 0).sum(1)
    for size in sorted({*sizes.tolist()}):
        own = sizes == size
        options = batch["options"][own, :size]  # those that are none stand at the end
        yield (
            student.flatten()[options],
            None if teacher is None else teacher.flatten()[options],
            batch["targets"][own],
        )


def _sum_of_distances(
    loss: DynamicTemperatureKL,
    groups: Sequence[Decided],
    student: Tensor,
    window: AccumulationWindow,
) -> Tensor:
    """The distances of all decisions of all ranks, which have to ask together, added up."""
    own = [loss.distances(z, t).sum() for z, t, _ in groups if t is not None]
    total = torch.stack([student.detach()[:0].sum(), *own]).sum()
    return total if window.reduce is None else window.reduce(total)
