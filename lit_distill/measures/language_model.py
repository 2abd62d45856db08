"""The one measurement of a language model, the same for every method.

On the selected rows of the validation batches, per language: cross-entropy and accuracy of the
student, and where there is a teacher its cross-entropy, KL(teacher || student) at temperature 1 and
the share of rows on which both put the same token first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torchmetrics import Metric

from lit_distill.batch import Batch, row_languages
from lit_distill.models import Ensemble, LanguageModel, LiveOutputs, teach

ROWS_PER_TILE = 256  # logits of this many rows are held at a time


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


def metric_of(key: str, student: str, students: Iterable[str]) -> str:
    """The key of one student's metric: `val/loss`, or `val/<student>/loss` where it has company."""
    if len(list(students)) == 1:
        return key
    stage, _, name = key.partition("/")
    return f"{stage}/{student}/{name}"


Grouping = Callable[[Batch], Tensor]
"""The group (N,) of every selected row of a batch; -1 for rows that are in none."""


@dataclass(frozen=True)
class Breakdown:
    """A further way to group the selected rows, beside their language.

    Attributes:
        names: of the groups.
        grouping: gives their numbers.
    """

    names: Sequence[str]
    grouping: Grouping


class ScoreKeeper(Metric):
    """Sums per group of rows in float64, added over ranks.

    Args:
        groups: how many there are.
        with_teacher: whether teacher logits will be given.
        grouping: tells the rows' groups; by default their languages.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, groups: int, with_teacher: bool, grouping: Grouping = row_languages) -> None:
        super().__init__()
        self.with_teacher, self.grouping = with_teacher, grouping
        # The last one takes the rows that are in no group: leaving them out would wait for the GPU.
        zeros = torch.zeros(groups + 1, 6, dtype=torch.float64)
        self.add_state("sums", default=zeros, dist_reduce_fx="sum")

    def update(self, table: Tensor, groups: Tensor) -> None:
        """Adds rows.

        Args:
            table: what `row_scores` made of them.
            groups: their numbers (N,).
        """
        places = groups.remainder(len(self.sums))
        self.sums[:, : table.shape[1]] = self.sums[:, : table.shape[1]].index_add(0, places, table)

    def compute(self) -> Tensor:
        """The sums (groups, 6) over all ranks: rows, losses, hits, teacher losses, KL, equal."""
        return self.sums[:-1]

    def scores(self, names: Sequence[str]) -> dict[str, Scores]:
        """Scores of every group that had rows, by name, in the order of `names`."""
        result = {}
        for name, row in zip(names, self.compute().tolist(), strict=True):
            rows = row[0]
            if rows:
                means = [value / rows for value in row[1:]]
                result[name] = Scores(int(rows), *(means if self.with_teacher else means[:2]))
        return result


def row_scores(student: Tensor, teacher: Tensor | None, targets: Tensor) -> Tensor:
    """What is summed of each row, in float64: (N, 6), or (N, 3) without a teacher.

    Args:
        student: logits (N, V).
        teacher: logits (N, V), or None.
        targets: token ids (N,).
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
    keepers: Mapping[str, Sequence[ScoreKeeper]],
    students: Mapping[str, LanguageModel],
    taught: LiveOutputs | None,
    batch: Batch,
) -> None:
    """Adds the selected rows of one batch to every student's keepers; one forward per model."""
    rows = batch["rows"]
    for name, own in keepers.items():
        states = students[name].encode(batch).rows(rows)
        groups = [keeper.grouping(batch) for keeper in own]
        for start in range(0, len(rows), ROWS_PER_TILE):
            tile = slice(start, start + ROWS_PER_TILE)
            table = row_scores(
                students[name].logits(states[tile]),
                taught.logits(rows[tile]) if taught else None,
                batch["targets"][tile],
            )
            for keeper, numbers in zip(own, groups, strict=True):
                keeper.update(table, numbers[tile])


class Measured(LightningModule):
    """The part of a method that validates and tests its students, whatever they are trained on.

    Attributes:
        students: trained models by name.
        teachers: frozen models by name; students are compared with what they say together.
        ensemble: how several are heard as one.
        breakdowns: further groups of rows that are measured in the same pass, by name; callbacks
            add theirs when a validation starts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.students, self.teachers = nn.ModuleDict(), nn.ModuleDict()
        self.ensemble = Ensemble()
        self.breakdowns: dict[str, Breakdown] = {}
        self._keepers: dict[str, list[ScoreKeeper]] = {}
        self._scores: dict[str, dict[str, Scores]] | None = None

    @property
    def student(self) -> LanguageModel:
        """The one called so, or else the only one."""
        if "student" in self.students:
            return cast(LanguageModel, self.students["student"])
        (only,) = self.students.values()
        return cast(LanguageModel, only)

    @property
    def measurements(self) -> dict[str, dict[str, Scores]]:
        """Scores by student and language of the validation that has just been run.

        Computed when first asked for, because callbacks are told of a validation's end before the
        module is; every rank must ask, for the sums are added over ranks.
        """
        if self._scores is None:
            names = self.data.languages if self._keepers else []
            self._scores = {key: own[0].scores(names) for key, own in self._keepers.items()}
        return self._scores

    def broken_down(self, name: str) -> dict[str, dict[str, Scores]]:
        """Scores by student and group of a breakdown; every rank must ask, as above."""
        place = 1 + list(self.breakdowns).index(name)
        names = self.breakdowns[name].names
        return {key: own[place].scores(names) for key, own in self._keepers.items()}

    @property
    def figures(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Numbers of the last validation that are no `Scores`, by student.

        Of each a `mean` with `loss` and what it is made of, and the same by `languages`.
        """
        return {}

    @property
    def data(self) -> Any:
        """The data module, which names the languages; None if loaders were given bare."""
        return getattr(self.trainer, "datamodule", None)

    def run_teachers(self, batch: Batch) -> LiveOutputs:
        """Runs every teacher over a batch, outside of any graph."""
        teachers = cast(list[LanguageModel], list(self.teachers.values()))
        return teach(teachers, self.ensemble, batch)

    def on_validated(self, measurements: dict[str, dict[str, Scores]]) -> None:
        """Called after each validation of a fit with what was measured; for methods that adapt.

        Not after `validate`, `test`, or the Trainer's trial of the validation before training.
        """

    def on_validation_epoch_start(self) -> None:
        """Starts a fresh measurement for every student."""
        taught = bool(self.teachers)
        self._keepers = {
            name: [
                ScoreKeeper(len(self.data.languages), taught).to(self.device),
                *(
                    ScoreKeeper(len(one.names), taught, one.grouping).to(self.device)
                    for one in self.breakdowns.values()
                ),
            ]
            for name in self.students
        }

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Measures every student on the selected rows of one batch."""
        students = {name: cast(LanguageModel, model) for name, model in self.students.items()}
        taught = self.run_teachers(batch) if self.teachers else None
        score_batch(self._keepers, students, taught, batch)
        self._scores = None

    def on_validation_epoch_end(self) -> None:
        """Logs `val/loss`, the unweighted mean over languages."""
        stage = "test" if self.trainer.testing else "val"
        for name, scores in self.measurements.items():
            loss = mean_over_languages(scores, "loss")
            if loss is not None:
                # Equal on all ranks: the first flag avoids a warning, the second the reduction.
                key = metric_of(f"{stage}/loss", name, self.students)
                self.log(key, loss, prog_bar=True, sync_dist=True, rank_zero_only=True)
        # Not `trainer.training`, which is False while a fit validates.
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.on_validated(self.measurements)

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end


def _log_softmax(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _pick(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    return log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1)
