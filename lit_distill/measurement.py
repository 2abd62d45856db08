"""The one measurement of a masked or causal language model, the same for every method.

On the selected rows of the validation batches, per language: cross-entropy and accuracy of the
student, and where there is a teacher its cross-entropy, KL(teacher || student) at temperature 1 and
the share of rows on which both put the same token first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric


@dataclass(frozen=True)
class Scores:
    """What was measured on the rows of one language; losses in nats per row, shares in [0, 1]."""

    rows: int
    loss: float
    accuracy: float
    teacher_loss: float | None = None
    kl: float | None = None
    agreement: float | None = None

    @property
    def perplexity(self) -> float:
        """Exponential of the loss; infinite where that overflows."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


def mean_over_languages(scores: dict[str, Scores], name: str) -> float | None:
    """Unweighted mean of one field of `Scores`: every language counts the same."""
    values = [getattr(score, name) for score in scores.values()]
    if not values or any(value is None for value in values):
        return None
    return float(sum(values) / len(values))


class ScoreKeeper(Metric):
    """Sums per language in float64, added over ranks.

    Args:
        languages: how many languages the batches number.
        with_teacher: whether teacher logits will be given.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, languages: int, with_teacher: bool) -> None:
        super().__init__()
        self.with_teacher = with_teacher
        zeros = torch.zeros(languages, 6, dtype=torch.float64)
        self.add_state("sums", default=zeros, dist_reduce_fx="sum")

    def update(
        self, student: Tensor, teacher: Tensor | None, targets: Tensor, languages: Tensor
    ) -> None:
        """Adds rows.

        Args:
            student: logits (N, V).
            teacher: logits (N, V), or None.
            targets: token ids (N,).
            languages: language numbers (N,).
        """
        log_q = _log_softmax(student)
        ones = torch.ones(len(targets), dtype=torch.float64, device=targets.device)
        best = student.argmax(-1)
        columns = [ones, -_pick(log_q, targets), best == targets]
        if teacher is not None:
            log_p = _log_softmax(teacher)
            kl = (log_p.exp() * (log_p - log_q)).sum(-1)
            columns += [-_pick(log_p, targets), kl, best == teacher.argmax(-1)]
        table = torch.stack([column.to(torch.float64) for column in columns], dim=1)
        self.sums[:, : table.shape[1]] = self.sums[:, : table.shape[1]].index_add(
            0, languages, table
        )

    def compute(self) -> Tensor:
        """The sums (languages, 6) over all ranks: rows, losses, hits, teacher losses, KL, equal."""
        return self.sums

    def scores(self, names: Sequence[str]) -> dict[str, Scores]:
        """Scores of every language that had rows, by name, in the order of `names`."""
        result = {}
        for name, row in zip(names, self.compute().tolist(), strict=True):
            rows = row[0]
            if rows:
                means = [value / rows for value in row[1:]]
                result[name] = Scores(
                    int(rows), *(means if self.with_teacher else means[:2])
                )
        return result


def _log_softmax(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _pick(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    return log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1)
