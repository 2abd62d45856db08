"""What measures of logits share: sums over the selected rows, per language and further group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_distill.batch import (
    IGNORED,
    Batch,
    LabelledBatch,
    decision_groups,
    row_languages,
)
from lit_distill.errors import UserError
from lit_distill.measures.measure import (
    Grouping,
    Measure,
    Measurement,
    Scores,
    mean_over_languages,
)
from lit_distill.models import (
    LanguageModel,
    LiveOutputs,
    TrimmedModel,
    decided,
    decision_logits,
    teach,
    teacher_view,
)

ROWS_PER_TILE = 256  # logits of this many rows are held at a time


@dataclass(frozen=True)
class Tile:
    """Some selected rows of a batch with what one student says about them.

    Attributes:
        student: logits (N, V).
        teacher: logits (N, V), or None.
        targets: ids (N,).
        lost: the teacher's probability (N,) of tokens that its vocabulary lacks, or None.
    """

    student: Tensor
    teacher: Tensor | None
    targets: Tensor
    lost: Tensor | None = None

    @cached_property
    def table(self) -> Tensor:
        """See `row_scores`."""
        found = row_scores(self.student, self.teacher, self.targets)
        if self.lost is None:
            return found
        return torch.cat([found, self.lost.to(torch.float64)[:, None]], 1)


class RowMetric(Metric):
    """Sums over rows by their group, added over ranks.

    Args:
        grouping: tells the rows' groups.

    Attributes:
        with_lost: whether it hears what the teacher's vocabulary lost.
    """

    full_state_update = False
    with_lost = False

    def __init__(self, grouping: Grouping = row_languages) -> None:
        super().__init__()
        self.grouping = grouping


class ScoreKeeper(RowMetric):
    """Sums of `row_scores` per group of rows, in float64.

    Args:
        groups: how many there are.
        with_teacher: whether teacher logits will be given.
        with_lost: whether tiles will have what the teacher's vocabulary lost.
        grouping: tells the rows' groups; by default their languages.
    """

    sums: Tensor

    def __init__(
        self,
        groups: int,
        with_teacher: bool,
        grouping: Grouping = row_languages,
        with_lost: bool = False,
    ) -> None:
        super().__init__(grouping)
        self.with_teacher, self.with_lost = with_teacher, with_lost
        # The last one takes the rows that are in no group: leaving them out would wait for the GPU.
        zeros = torch.zeros(groups + 1, 7, dtype=torch.float64)
        self.add_state("sums", default=zeros, dist_reduce_fx="sum")

    def update(self, tile: Tile, groups: Tensor) -> None:
        """Adds rows, which are in `groups` (N,)."""
        table = tile.table
        places = groups.remainder(len(self.sums))
        self.sums[:, : table.shape[1]] = self.sums[:, : table.shape[1]].index_add(0, places, table)

    def compute(self) -> Tensor:
        """The sums (groups, 7) over all ranks.

        Rows, losses, hits, teacher losses, KL, equal tokens, lost probability.
        """
        return self.sums[:-1]

    def scores(self, names: Sequence[str]) -> dict[str, Scores]:
        """Scores of every group that had rows, by name, in the order of `names`.

        Losses are in nats per row, shares in [0, 1].
        """
        result: dict[str, Scores] = {}
        for name, row in zip(names, self.compute().tolist(), strict=True):
            rows = row[0]
            if rows:
                loss, accuracy, *taught, lost = (value / rows for value in row[1:])
                if not self.with_teacher:
                    taught = [None] * 3
                compared = zip(("teacher_loss", "kl", "agreement"), taught, strict=True)
                result[name] = {
                    "rows": int(rows),
                    "loss": loss,
                    "accuracy": accuracy,
                    **dict(compared),
                    **({"lost_share": lost} if self.with_lost else {}),
                }
        return result


def row_scores(student: Tensor, teacher: Tensor | None, targets: Tensor) -> Tensor:
    """What is summed of each row, in float64: (N, 6), or (N, 3) without a teacher.

    Args:
        student: logits (N, V).
        teacher: logits (N, V), or None.
        targets: ids (N,).
    """
    log_q = _log_softmax(student)
    ones = torch.ones(len(targets), dtype=torch.float64, device=targets.device)
    best = student.argmax(-1)
    columns = [ones, -_pick(log_q, targets), best == targets]
    if teacher is not None:
        log_p = _log_softmax(teacher)
        p = log_p.exp()
        # A token that the teacher forbids (logit -inf) adds nothing: 0 log 0 = 0.
        kl = torch.where(p == 0, 0.0, p * (log_p - log_q)).sum(-1)
        columns += [-_pick(log_p, targets), kl, best == teacher.argmax(-1)]
    return torch.stack([column.to(torch.float64) for column in columns], dim=1)


def score_batch(
    metrics: Mapping[str, Sequence[RowMetric]],
    students: Mapping[str, LanguageModel],
    taught: LiveOutputs | None,
    batch: Batch,
) -> None:
    """Adds the decisions of one batch to every student's metrics; one forward per model.

    They are its rows; with `options`, what these make of them (`decided`).
    """
    if "options" in batch:
        _score_options(metrics, students, taught, cast(LabelledBatch, batch))
        return
    rows = batch["rows"]
    theirs = _teacher_rows(taught, batch)
    for name, own in metrics.items():
        hears_lost = any(metric.with_lost for metric in own)
        states = students[name].encode(batch).rows(rows)
        groups = [metric.grouping(batch) for metric in own]
        for start in range(0, len(rows), ROWS_PER_TILE):
            places = slice(start, start + ROWS_PER_TILE)
            tile = Tile(
                students[name].logits(states[places]),
                taught.logits(theirs[places]) if taught else None,
                batch["targets"][places],
                taught.lost_share(theirs[places]) if taught and hears_lost else None,
            )
            for metric, numbers in zip(own, groups, strict=True):
                metric.update(tile, numbers[places])


def _score_options(
    metrics: Mapping[str, Sequence[RowMetric]],
    students: Mapping[str, LanguageModel],
    taught: LiveOutputs | None,
    batch: LabelledBatch,
) -> None:
    """Adds the decisions that are not among the outputs of one row: few, so in one tile."""
    known = batch["targets"] != IGNORED
    teacher = (
        None if taught is None else decided(taught.logits(_teacher_rows(taught, batch)), batch)
    )
    for name, own in metrics.items():
        logits = decision_logits(students[name], batch, students[name].encode(batch))
        given = None if teacher is None else teacher[known]
        tile = Tile(logits[known], given, batch["targets"][known])
        for metric in own:
            numbers = decision_groups(metric.grouping(batch), batch)
            metric.update(tile, numbers[known])


def _teacher_rows(taught: LiveOutputs | None, batch: Batch) -> Tensor:
    """The rows in what the teachers read."""
    if taught is None or not taught.view:
        return batch["rows"]
    return cast(LabelledBatch, batch)["teacher_rows"]


class LogitMeasure(Measure):
    """Cross-entropy and accuracy on the selected rows, and what a teacher says there."""

    def check(self) -> None:
        """See `Measure`.

        Raises:
            UserError: a student has a single output, of which cross-entropy is always 0.
        """
        for name, student in self.method.cast.student_models.items():
            if student.outputs == 1:
                raise UserError(
                    f"{type(student.model).__name__} ({name}) has one output, as regression has, "
                    f"and {type(self).__name__} compares the probabilities of several: give the "
                    "student an output for each label (num_labels), or the method a measure of "
                    "its own (measured_by)."
                )

    def start(self) -> None:
        """See `Measure`."""
        self.check()
        self.kept: dict[str, list[ScoreKeeper]] = {}
        method, teachers = self.method, self.method.cast.comparable_teachers
        taught, lost = bool(teachers), any(isinstance(one, TrimmedModel) for one in teachers)
        for name in method.students:
            own = [ScoreKeeper(len(method.data_facts.languages), taught, with_lost=lost)]
            for one in self.breakdowns.values():
                own.append(ScoreKeeper(len(one.names), taught, one.grouping, lost))
            self.kept[name] = [keeper.to(method.device) for keeper in own]

    def update(self, batch: Batch) -> None:
        """See `Measure`."""
        models = self.method.cast.comparable_teachers
        view = teacher_view(batch)
        taught = teach(models, self.method.ensemble, batch, view=view) if models else None
        score_batch(self.row_metrics(), self.method.cast.student_models, taught, batch)

    def row_metrics(self) -> Mapping[str, Sequence[RowMetric]]:
        """Everything that hears of rows, by student."""
        return self.kept

    def compute(self) -> dict[str, Measurement]:
        """See `Measure`."""
        names = self.method.data_facts.languages if self.kept else []
        return {name: self._measurement(own, names) for name, own in self.kept.items()}

    def _measurement(self, kept: Sequence[ScoreKeeper], names: Sequence[str]) -> Measurement:
        languages = kept[0].scores(names)
        mean = mean_over_languages(languages)
        if languages:
            mean["rows"] = sum(scores["rows"] or 0 for scores in languages.values())
        pairs = zip(self.breakdowns.items(), kept[1:], strict=True)
        groups = {name: keeper.scores(one.names) for (name, one), keeper in pairs}
        return Measurement(languages, mean, groups)


def _log_softmax(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _pick(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    return log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1)
