"""A training run as its folder tells it: configuration, scores, curves, models, environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lit_distill.measures import LanguageModelMeasure, MetricSpec
from lit_distill.tools.reporting.curves import Curves, curves_of
from lit_distill.tools.reporting.parts import finite
from lit_distill.tools.reporting.plain_files import class_name, inside, json_of, named, yaml_of

FACTS, REPORT, CONFIG = "facts.json", "report.json", "config.yaml"
Values = dict[str, float]


@dataclass(frozen=True)
class Run:
    """What is known of one run.

    Attributes:
        name: by which the report calls it.
        folder: of it.
        config: of the run.
        report: its scores.
        facts: its models, data and environment.
        curves: what was logged.
        problems: sentences about what could not be read.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    report: Mapping[str, Any]
    facts: Mapping[str, Any]
    curves: Curves
    problems: list[str]

    @property
    def method(self) -> str:
        """The class of the method."""
        return named(self.report, "method") or class_name(inside(self.config, "model")) or "?"

    @property
    def students(self) -> list[str]:
        """Names of what was trained."""
        scored = inside(self.report, "best", "students") | inside(self.report, "last", "students")
        return list(dict.fromkeys([*inside(self.facts, "students"), *scored])) or ["student"]

    @property
    def teachers(self) -> dict[str, dict[str, Any]]:
        """What is known of teachers, by name; of runs without facts, their names."""
        known = {name: inside(own) for name, own in inside(self.facts, "teachers").items()}
        teacher = named(self.config, "model", "init_args", "teacher", "name")
        return known or ({"teacher": {"name": teacher}} if teacher else {})

    @property
    def is_taught(self) -> bool:
        """Whether the teacher was heard in training, and not only begun from or compared with."""
        return bool(self.teachers) and self.facts.get("hears", "") is not None

    @property
    def metrics(self) -> list[MetricSpec]:
        """What was measured, the leading metric first; of runs without facts, as far as known."""
        known = {field.name for field in fields(MetricSpec)}
        given = self.facts.get("metrics")
        found = []
        for one in given if isinstance(given, list) else ():
            if isinstance(one, dict) and set(one) <= known and _is_spec(one):
                found.append(MetricSpec(**one))
        if found:
            return found
        usual = {metric.name: metric for metric in LanguageModelMeasure.metrics}
        names = [name for student in self.students for name in self.mean(student)]
        return [usual.get(name, MetricSpec(name, name)) for name in dict.fromkeys(names)]

    def entry(self, student: str) -> dict[str, Any]:
        """The scores of a student at its best, or at its last if none was the best."""
        best = inside(self.report, "best", "students", student)
        return best or inside(self.report, "last", "students", student)

    def mean(self, student: str) -> Values:
        """Scores of all text."""
        return _numbers(inside(self.entry(student), "mean"))

    def languages(self, student: str) -> dict[str, Values]:
        """Scores by language."""
        languages = inside(self.entry(student), "languages")
        return {str(name): _numbers(own) for name, own in languages.items()}

    def tag(self, student: str, rest: str) -> str:
        """The tag of something of a student's validation: of several, with its name."""
        return f"val/{rest}" if len(self.students) == 1 else f"val/{student}/{rest}"


def is_run(folder: Path) -> bool:
    """Whether a training left a folder."""
    trained = (FACTS, REPORT, "checkpoints", "tensorboard")
    return (folder / CONFIG).is_file() and any((folder / name).exists() for name in trained)


def run_of(folder: Path, name: str) -> Run:
    """Reads all that is there.

    Args:
        folder: of the run.
        name: by which it is called.
    """
    problems = list[str]()
    config = yaml_of(folder / CONFIG, problems)
    report, facts = json_of(folder / REPORT, problems), json_of(folder / FACTS, problems)
    curves = curves_of(folder, problems)
    return Run(name, folder, config, report, facts, curves, problems)


def _is_spec(given: Mapping[str, Any]) -> bool:
    texts = [given.get("name"), given.get("label"), given.get("figure", "")]
    return all(isinstance(text, str) for text in texts)


def _numbers(values: Any) -> Values:
    found = {str(name): finite(value) for name, value in inside(values).items()}
    return {name: value for name, value in found.items() if value is not None}
