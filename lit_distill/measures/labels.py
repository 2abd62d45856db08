"""What is measured of models with the head of a task: by what that predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from lit_distill.measures.language_model import LanguageModelMeasure
from lit_distill.measures.logits import LogitMeasure, RowMetric, ScoreKeeper, Tile
from lit_distill.measures.loyalty import Loyalty
from lit_distill.measures.measure import (
    Measure,
    MeasuredMethod,
    Measurement,
    MetricSpec,
    Scores,
    mean_over_languages,
)
from lit_distill.measures.values import ValueMeasure
from lit_distill.models import Predicted


class LabelCounts(RowMetric):
    """How often each label was given, was right, and was to be given, per language.

    Of all languages in one state: torchmetrics' own F1 would need an object for each, with as many
    waits for the device in every batch and as many exchanges between ranks.

    Args:
        languages: how many there are.
        labels: C, how many outputs a student has.
    """

    counts: Tensor

    def __init__(self, languages: int, labels: int) -> None:
        super().__init__()
        zeros = torch.zeros(languages, labels, 3, dtype=torch.int64)
        self.add_state("counts", default=zeros, dist_reduce_fx="sum")

    def update(self, tile: Tile, groups: Tensor) -> None:
        """Adds rows, whose languages are `groups` (N,)."""
        given, one = tile.student.argmax(-1), torch.ones_like(tile.targets)
        for place, (labels, weight) in enumerate(
            ((given, (given == tile.targets).long()), (given, one), (tile.targets, one))
        ):
            part = torch.full_like(labels, place)
            self.counts.index_put_((groups, labels, part), weight, accumulate=True)

    def compute(self) -> Tensor:
        """Macro F1 (languages,) over all ranks: the mean over labels that were or should be given.

        As `torchmetrics.functional.classification.multiclass_f1_score`, average "macro", has it.
        """
        right, given, wanted = self.counts.double().unbind(-1)
        occurs = given + wanted
        each = torch.where(occurs > 0, 2 * right / occurs.clamp(min=1), 0.0)
        return each.sum(-1) / (occurs > 0).sum(-1)


class ChoiceMeasure(LogitMeasure):
    """Cross-entropy, accuracy and calibration of decisions: choices, or ends of an answer.

    Where there is a teacher, how true the student is to it (Xu et al. 2021, "Beyond Preserved
    Accuracy"): label loyalty, the share of decisions on which both are of one mind, probability
    loyalty, 1 - Jensen-Shannon distance in bits, and KL(teacher || student) at temperature 1; of
    what both get wrong, the share that is the same error (inherited), and of what the teacher gets
    right, the share that the student gets wrong (invented). Means count every language the same.
    """

    metrics: Sequence[MetricSpec] = (
        MetricSpec("loss", "loss", monitored=True, figure="held-out loss, nats"),
        MetricSpec("accuracy", "accuracy", smaller_is_better=False, figure="accuracy"),
        MetricSpec("ece", "ECE"),
        MetricSpec(
            "label_loyalty",
            "loyalty",
            smaller_is_better=False,
            compares=True,
            figure="label loyalty to the teacher",
        ),
        MetricSpec("probability_loyalty", "p-loyalty", smaller_is_better=False, compares=True),
        MetricSpec("kl", "KL", compares=True, figure="KL(teacher || student), nats"),
        MetricSpec("inherited", "inherited", compares=True, in_card=False),
        MetricSpec("invented", "invented", compares=True, in_card=False),
        MetricSpec("teacher_loss", "teacher loss", compares=True, in_card=False),
        MetricSpec("teacher_ece", "teacher ECE", compares=True, in_card=False),
    )
    caption: ClassVar[str] = (
        "loss in nats and accuracy of the decisions, and their expected calibration error; label "
        "loyalty, the share of them on which student and teacher agree, probability loyalty, "
        "1 - Jensen-Shannon distance in bits, and KL(teacher || student) in nats."
    )

    def check(self) -> None:
        """See `Measure`; one output is the score of a choice."""

    def start(self) -> None:
        """See `Measure`."""
        super().start()
        method = self.method
        languages, taught = len(method.data_facts.languages), bool(method.cast.comparable_teachers)
        self._loyalty = {
            name: Loyalty(languages, taught).to(method.device) for name in method.students
        }

    def row_metrics(self) -> Mapping[str, Sequence[RowMetric]]:
        """See `LogitMeasure`."""
        return {name: [*own, self._loyalty[name]] for name, own in self.kept.items()}

    def compute(self) -> dict[str, Measurement]:
        """See `Measure`."""
        names = self.method.data_facts.languages
        return {
            name: _with_more(measured, self._loyalty[name].scores(names))
            for name, measured in super().compute().items()
        }

    def _measurement(self, kept: Sequence[ScoreKeeper], names: Sequence[str]) -> Measurement:
        found = super()._measurement(kept, names)
        groups = {
            breakdown: {name: _renamed(scores) for name, scores in own.items()}
            for breakdown, own in found.groups.items()
        }
        languages = {name: _renamed(scores) for name, scores in found.languages.items()}
        return Measurement(languages, _renamed(found.mean), groups)


class LabelMeasure(ChoiceMeasure):
    """What a `ChoiceMeasure` says of decisions, of the labels at the selected rows; and macro F1.

    A batch has the classified positions as `rows` and their labels as `targets`.
    """

    metrics = (
        *ChoiceMeasure.metrics[:2],
        MetricSpec("macro_f1", "macro F1", smaller_is_better=False, figure="macro F1"),
        *ChoiceMeasure.metrics[2:],
    )
    caption = (
        "loss in nats, accuracy and macro F1 of the labels, and their expected calibration error; "
        "label loyalty, the share of them that student and teacher give alike, probability "
        "loyalty, 1 - Jensen-Shannon distance in bits, and KL(teacher || student) in nats."
    )

    def check(self) -> None:
        """See `LogitMeasure.check`."""
        LogitMeasure.check(self)

    def start(self) -> None:
        """See `Measure`."""
        super().start()
        languages = len(self.method.data_facts.languages)
        self._counts = {
            name: LabelCounts(languages, student.outputs).to(self.method.device)
            for name, student in self.method.cast.student_models.items()
        }

    def row_metrics(self) -> Mapping[str, Sequence[RowMetric]]:
        """See `LogitMeasure`."""
        return {name: [*own, self._counts[name]] for name, own in super().row_metrics().items()}

    def compute(self) -> dict[str, Measurement]:
        """See `Measure`."""
        found = super().compute()
        return {name: _with_more(own, self._f1(name)) for name, own in found.items()}

    def _f1(self, student: str) -> dict[str, Scores]:
        names = self.method.data_facts.languages
        found = self._counts[student].compute().reshape(-1)  # torchmetrics makes one number 0-d
        return {name: {"macro_f1": f1} for name, f1 in zip(names, found.tolist(), strict=True)}


def _with_more(measured: Measurement, more: Mapping[str, Scores]) -> Measurement:
    """A measurement with further scores of its languages, and their means."""
    languages = {name: {**scores, **more[name]} for name, scores in measured.languages.items()}
    means = mean_over_languages({name: more[name] for name in languages})
    return replace(measured, languages=languages, mean={**measured.mean, **means})


def _renamed(scores: Scores) -> Scores:
    """Top-1 agreement on labels is called label loyalty."""
    names = {"agreement": "label_loyalty"}
    return {names.get(name, name): value for name, value in scores.items()}


_BY_KIND: Mapping[Predicted, type[Measure]] = {
    Predicted.TEXT_LABELS: LabelMeasure,
    Predicted.TOKEN_LABELS: LabelMeasure,
    Predicted.CHOICES: ChoiceMeasure,
    Predicted.SPANS: ChoiceMeasure,
    Predicted.TEXT_VALUE: ValueMeasure,
}


def measure_of(method: MeasuredMethod) -> Measure:
    """What a method measures of its students: `measured_by`, and of a task's head what that says.

    Args:
        method: with its students.
    """
    kinds = (student.anatomy.predicts for student in method.cast.student_models.values())
    task = next((_BY_KIND[kind] for kind in kinds if kind in _BY_KIND), None)
    if method.measured_by is LanguageModelMeasure and task is not None:
        return task(method)
    return method.measured_by(method)
