"""How true a classifier is to its teacher, and how sure of itself: sums over decisions.

What `lit_distill.measures.fidelity` says about arrays, this adds up while batches come by.

Shapes: N decisions, C options of each, G languages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lit_distill.measures.logits import RowMetric, Tile
from lit_distill.measures.measure import Scores

BINS = 15
"""Of the calibration error, as in Guo et al. (2017)."""

_SUMS = 6
"""Decisions, loyalty, both wrong, both wrong alike, teacher right, student wrong where it is."""


class Loyalty(RowMetric):
    """Probability loyalty, calibration of student and teacher, and whose errors are made.

    Probability loyalty is 1 - sqrt(JSD) in bits (Xu et al. 2021, "Beyond Preserved Accuracy").

    Args:
        languages: how many there are.
        with_teacher: whether teacher logits will be given.
    """

    sums: Tensor
    bins: Tensor

    def __init__(self, languages: int, with_teacher: bool) -> None:
        super().__init__()
        self.with_teacher = with_teacher
        sums = torch.zeros(languages, _SUMS, dtype=torch.float64)
        # Right and sure; as torchmetrics has it, who is sure altogether has a bin of its own.
        bins = torch.zeros(languages, 2, BINS + 1, 2, dtype=torch.float64)
        self.add_state("sums", default=sums, dist_reduce_fx="sum")
        self.add_state("bins", default=bins, dist_reduce_fx="sum")

    def update(self, tile: Tile, groups: Tensor) -> None:
        """Adds decisions, whose languages are `groups` (N,)."""
        q = tile.student.double().softmax(-1)
        self._add_sureness(0, q, tile.targets, groups)
        columns = [torch.ones_like(q[:, 0])]
        if tile.teacher is not None:
            p = tile.teacher.double().softmax(-1)
            self._add_sureness(1, p, tile.targets, groups)
            given, taught = q.argmax(-1), p.argmax(-1)
            wrong, taught_right = given != tile.targets, taught == tile.targets
            both = wrong & ~taught_right
            counted = both, both & (given == taught), taught_right, wrong & taught_right
            columns += [1 - distances(q, p), *(column.double() for column in counted)]
        self.sums[:, : len(columns)].index_add_(0, groups, torch.stack(columns, 1))

    def _add_sureness(self, place: int, shares: Tensor, targets: Tensor, groups: Tensor) -> None:
        """Adds how sure a model is of what it chooses, and whether that is right."""
        sure, chosen = shares.max(-1)
        edges = torch.linspace(0, 1, BINS + 1, dtype=sure.dtype, device=sure.device)
        at = torch.bucketize(sure, edges, right=True) - 1
        both = torch.stack([(chosen == targets).to(sure.dtype), sure], 1)
        self.bins[:, place].index_put_((groups, at), both, accumulate=True)

    def compute(self) -> tuple[Tensor, Tensor]:
        """The sums (G, 6) and the bins (G, 2, BINS + 1, 2) over all ranks."""
        return self.sums, self.bins

    def scores(self, names: Sequence[str]) -> dict[str, Scores]:
        """Scores of every language by name; None where one is not defined."""
        sums, bins = self.compute()
        # How far apart, in every bin, the numbers of right and of expected answers are.
        off = (bins[..., 0] - bins[..., 1]).abs().sum(-1)
        rows = zip(names, sums.tolist(), off.tolist(), strict=True)
        return {name: self._scores(own, far) for name, own, far in rows}

    def _scores(self, sums: list[float], off: list[float]) -> Scores:
        rows, loyalty, both_wrong, alike, taught_right, invented = sums
        return {
            "ece": _share(off[0], rows),
            "teacher_ece": _share(off[1], rows) if self.with_teacher else None,
            "probability_loyalty": _share(loyalty, rows) if self.with_teacher else None,
            "inherited": _share(alike, both_wrong),
            "invented": _share(invented, taught_right),
        }


def distances(student: Tensor, teacher: Tensor) -> Tensor:
    """Jensen-Shannon distances (N,) of probabilities (N, C): roots of the divergence in bits.

    As `scipy.spatial.distance.jensenshannon` with base 2, which has the root in it.
    """
    middle = (student + teacher) / 2
    halves = (torch.xlogy(each, each) - torch.xlogy(each, middle) for each in (student, teacher))
    divergence = sum(half.sum(-1) for half in halves) / (2 * math.log(2))
    return torch.as_tensor(divergence).clamp(0, 1).sqrt()


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
