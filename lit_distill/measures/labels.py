"""What is measured of a classifier of texts, pairs or tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lit_distill.measures.language_model import LanguageModelMeasure
from lit_distill.measures.logits import LogitMeasure, RowMetric, ScoreKeeper, Tile
from lit_distill.measures.measure import (
    Measure,
    MeasuredMethod,
    Measurement,
    MetricSpec,
    Scores,
    mean_over_languages,
)


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


class LabelMeasure(LogitMeasure):
    """Cross-entropy, accuracy and macro F1 of the labels at the selected rows.

    Where there is a teacher, how true the student is to it (Xu et al. 2021, "Beyond Preserved
    Accuracy"): label loyalty, the share of rows on which both give the same label, and
    KL(teacher || student) at temperature 1. Means count every language the same. A batch has the
    classified positions as `rows` and their labels as `targets`.
    """

    metrics = (
        MetricSpec("loss", "loss", monitored=True, figure="held-out loss, nats"),
        MetricSpec("accuracy", "accuracy", smaller_is_better=False, figure="accuracy"),
        MetricSpec("macro_f1", "macro F1", smaller_is_better=False, figure="macro F1"),
        MetricSpec(
            "label_loyalty",
            "loyalty",
            smaller_is_better=False,
            compares=True,
            figure="label loyalty to the teacher",
        ),
        MetricSpec("kl", "KL", compares=True, figure="KL(teacher || student), nats"),
        MetricSpec("teacher_loss", "teacher loss", compares=True, in_card=False),
    )
    caption = (
        "loss in nats, accuracy and macro F1 of the labels; label loyalty, the share of them that "
        "student and teacher give alike, and KL(teacher || student) in nats."
    )

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
        return {name: [*own, self._counts[name]] for name, own in self.kept.items()}

    def compute(self) -> dict[str, Measurement]:
        """See `Measure`."""
        found = super().compute()
        return {name: self._with_f1(name, measured) for name, measured in found.items()}

    def _measurement(self, kept: Sequence[ScoreKeeper], names: Sequence[str]) -> Measurement:
        found = super()._measurement(kept, names)
        groups = {
            breakdown: {name: _renamed(scores) for name, scores in own.items()}
            for breakdown, own in found.groups.items()
        }
        languages = {name: _renamed(scores) for name, scores in found.languages.items()}
        return Measurement(languages, _renamed(found.mean), groups)

    def _with_f1(self, student: str, measured: Measurement) -> Measurement:
        names = self.method.data_facts.languages
        found = self._counts[student].compute().reshape(-1)  # torchmetrics makes one number 0-d
        f1 = dict(zip(names, found.tolist(), strict=True))
        languages: dict[str, Scores] = {
            name: {**scores, "macro_f1": f1[name]} for name, scores in measured.languages.items()
        }
        mean = {**measured.mean, "macro_f1": mean_over_languages(languages).get("macro_f1")}
        return replace(measured, languages=languages, mean=mean)


def _renamed(scores: Scores) -> Scores:
    """Top-1 agreement on labels is called label loyalty."""
    names = {"agreement": "label_loyalty"}
    return {names.get(name, name): value for name, value in scores.items()}


def measure_of(method: MeasuredMethod) -> Measure:
    """What a method measures of its students: `measured_by`, and of classifiers their labels.

    Args:
        method: with its students.
    """
    labelled = any(student.anatomy.has_labels for student in method.cast.student_models.values())
    if method.measured_by is LanguageModelMeasure and labelled:
        return LabelMeasure(method)
    return method.measured_by(method)
