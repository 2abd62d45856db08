"""What every measure has in common: its interface, and the plain data that it hands out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from lit_distill.batch import Batch
from lit_distill.data_facts import DataFacts
from lit_distill.losses import AccumulationWindow, Term
from lit_distill.models import Ensemble, Hears, LanguageModel

Scores = dict[str, float | None]
"""Numbers by name, as report.json has them; None where one was not measured."""

Grouping = Callable[[Any], Tensor]
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


@dataclass(frozen=True)
class MetricSpec:
    """How one number of a measure is shown; callbacks, report and model card know no more of it.

    Attributes:
        name: its key in `Scores`, and the last part of its tags, as `val/<language>/<name>`.
        label: heading of its column.
        smaller_is_better: whether a student improves when it falls.
        monitored: whether the method itself logs the mean as `val/<name>`, for `monitor`; reports
            then do not.
        log_mean: whether reports log the mean.
        compares: whether it compares student and teacher: `TeacherAgreement` shows it, and else
            `PerLanguage`.
        figure: title, with the unit, of a figure by language; empty: none is drawn.
        in_card: whether the model card and the table of hyper-parameters have it.
        digits: behind the point, in the model card.
    """

    name: str
    label: str
    smaller_is_better: bool = True
    monitored: bool = False
    log_mean: bool = True
    compares: bool = False
    figure: str = ""
    in_card: bool = True
    digits: int = 4


@dataclass(frozen=True)
class Measurement:
    """What one validation measured of one student.

    Attributes:
        languages: scores by language, of those that the validation text had.
        mean: scores of all; empty where nothing was measured.
        groups: scores by group, of every breakdown by name.
    """

    languages: Mapping[str, Scores] = field(default_factory=dict)
    mean: Scores = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)

    @classmethod
    def by_language(cls, languages: Mapping[str, Scores]) -> Measurement:
        """A measurement whose mean counts every language the same."""
        return cls(languages, mean_over_languages(languages))


def mean_over_languages(languages: Mapping[str, Scores]) -> Scores:
    """Unweighted means of all scores; None where one of a language is None; empty of none."""
    found: Scores = {}
    for name in next(iter(languages.values()), {}):
        values = [scores.get(name) for scores in languages.values()]
        known = [value for value in values if value is not None]
        found[name] = float(sum(known) / len(known)) if len(known) == len(values) else None
    return found


def metric_of(key: str, student: str, students: Iterable[str]) -> str:
    """The key of one student's metric: `val/loss`, or `val/<student>/loss` where it has company."""
    if len(list(students)) == 1:
        return key
    stage, _, name = key.partition("/")
    return f"{stage}/{student}/{name}"


class Measure(ABC):
    """What a validation finds out about the students of a method, which names it: `measured_by`.

    A validation calls `start`, then `update` with every batch, without gradients and in eval mode,
    and then `compute`, once and on every rank. What `compute` returns is `method.measurements` from
    then on, which callbacks, report.json and model cards read by `metrics`.

    Attributes:
        metrics: what is shown, the leading one first: tables are sorted by it.
        caption: what the model card says of its table, after "Held-out text after N updates".
        predicts_tokens: whether the students' outputs are tokens, of which samples can be shown.
        method: whose students are measured.
        breakdowns: further groups of rows, by name; callbacks add theirs when a validation starts.

    Example: by language, how sure a student is. ::

        class Confidence(Measure):
            metrics = (MetricSpec("confidence", "sure", smaller_is_better=False, monitored=True),)
            caption = "mean probability of the likeliest token."

            def start(self) -> None:
                names = self.method.data_facts.languages
                self.means = {name: MeanMetric().to(self.method.device) for name in names}

            def update(self, batch: Batch) -> None:
                student, languages = self.method.student, row_languages(batch).tolist()
                logits = student.logits(student.encode(batch).rows(batch["rows"]))
                for language, best in zip(languages, logits.softmax(-1).amax(-1), strict=True):
                    self.means[self.method.data_facts.languages[language]].update(best)

            def compute(self) -> dict[str, Measurement]:
                means = {name: {"confidence": m.compute().item()} for name, m in self.means.items()}
                return {"student": Measurement.by_language(means)}

        class ConfidentMLM(MaskedLM):
            measured_by = Confidence
    """

    metrics: Sequence[MetricSpec] = ()
    caption: ClassVar[str] = ""
    predicts_tokens: ClassVar[bool] = False

    def __init__(self, method: MeasuredMethod) -> None:
        self.method = method
        self.breakdowns: dict[str, Breakdown] = {}

    def check(self) -> None:  # noqa: B027 (most measures take any student)
        """Called before the first step of a fit: to refuse students.

        Raises:
            UserError: the measure means nothing for them.
        """

    @abstractmethod
    def start(self) -> None:
        """Forgets everything that was measured."""

    @abstractmethod
    def update(self, batch: Batch) -> None:
        """Adds one batch of this rank."""

    @abstractmethod
    def compute(self) -> dict[str, Measurement]:
        """Measurements by student, over all ranks and equal on all of them."""


class MeasuredModels(Protocol):
    """The models of a method, by what a measure does with them."""

    @property
    def student_models(self) -> dict[str, LanguageModel]:
        """The students by name."""

    @property
    def comparable_teachers(self) -> list[LanguageModel]:
        """The teachers whose logits mean what those of the students mean."""


class MeasuredStages(Protocol):
    """The stages of a run, by what a measure asks of them."""

    def last_factor(self, term: str) -> float:
        """What the last stage multiplies the weight of a term with; 1 without stages."""


class MeasuredMethod(Protocol):
    """What a measure asks of the method whose students it measures; `Distillation` has all of it.

    Attributes:
        measured_by: what measures its students.
        measurements: what was computed last, by student.
        ensemble: how several teachers are heard as one.
        students: by name.
        teachers: live ones, by name.
    """

    measured_by: ClassVar[type[Measure]]
    measurements: dict[str, Measurement]
    ensemble: Ensemble
    hears: Hears | None
    students: nn.ModuleDict
    teachers: nn.ModuleDict

    @property
    def measure(self) -> Measure:
        """Of the run."""

    @property
    def cast(self) -> MeasuredModels:
        """Its models."""

    @property
    def stages(self) -> MeasuredStages:
        """Of the run."""

    @property
    def student(self) -> LanguageModel:
        """The single student."""

    @property
    def data_facts(self) -> DataFacts:
        """What the data module says."""

    @property
    def device(self) -> torch.device:
        """Where the models are."""

    @property
    def trainer(self) -> Trainer:
        """Of the run."""

    def losses(self, batch: Any, window: AccumulationWindow) -> dict[str, Term]:
        """The named terms of a batch."""

    def on_validated(self, measurements: dict[str, Measurement]) -> None:
        """Called after each validation of a fit."""

    def log(self, name: str, value: Any, **options: Any) -> None:
        """Logs a number, as Lightning does."""
