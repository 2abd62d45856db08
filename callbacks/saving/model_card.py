"""The README of an exported student, with the header that a hub searches by."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callbacks.reports.markdown import escaped, table_row
from lit_distill.measures import LanguageModelMeasure, Measurement, MetricSpec, Scores
from lit_distill.models import anatomy_of

HUB_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
"""A name of a hub; a path of two parts that is a folder here is none."""
WORST = 3
"""Languages that the limits name."""
VERSIONS = ("python", "lit-distill", "torch", "transformers", "tokenizers")


@dataclass(frozen=True)
class Training:
    """What a model card tells beside what a checkpoint knows.

    Attributes:
        updates: how many the weights have behind them.
        languages: names of the languages and mixes of the data.
        measured: of the student, if it was.
        measured_at: the number of updates before that measurement.
        metrics: what was measured.
        caption: what the metrics are, as a sentence.
        untrained: parameters that never received a gradient, or modules of nothing else.
        facts: what `run_facts` noted of the run: models, data with licences, environment.
    """

    updates: int
    languages: Sequence[str] = ()
    measured: Measurement = field(default_factory=Measurement)
    measured_at: int | None = None
    metrics: Sequence[MetricSpec] = LanguageModelMeasure.metrics
    caption: str = LanguageModelMeasure.caption
    untrained: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def model_card(name: str, description: Mapping[str, Any], training: Training) -> str:
    """The README of an exported student: where it comes from, how good it is, how to load it."""
    teachers = [_teacher(teacher) for teacher in description["teachers"].values()]
    config = description["students"][name]["config"]
    anatomy = anatomy_of(config["architectures"][0], config)
    loader = anatomy.auto_class
    front = [
        "---",
        "library_name: transformers",
        f"pipeline_tag: {anatomy.pipeline_tag}",
        "tags: [lit_distill, knowledge-distillation]",
        *_codes(training.languages),
        *_names("base_model", [teacher["name"] for teacher in description["teachers"].values()]),
        *_names("datasets", [origin.get("dataset") for origin in _origins(training)]),
        *_index(name, anatomy.pipeline_tag, training),
        "---",
    ]
    facts = [
        f"- method: {description['method']}, {training.updates} updates",
        f"- teacher: {', '.join(teachers) or 'none'}",
        f"- architecture: {config['architectures'][0]}",
        f"- languages and mixes: {', '.join(training.languages) or 'not recorded'}",
    ]
    if anatomy.has_labels:
        facts.append(f"- labels: {', '.join(map(str, config['id2label'].values()))}")
    if description["config"]:
        facts.append("- configuration of the run: `config.yaml` in this folder")
    notes = (*description.get("notes", ()), *description["students"][name].get("notes", ()))
    facts += [f"- {note}" for note in notes]  # older checkpoints have none
    for part, about in description.get("exported", {}).items():
        facts.append(f"- `projections/{part}.safetensors`: reads {about['reads']}")
    if training.untrained:
        facts.append(f"- parameters that received no gradient: {', '.join(training.untrained)}")
    load = [
        "```python",
        f"from transformers import {loader}, AutoTokenizer",
        "",
        'folder = "."  # where this file is',
        f"model = {loader}.from_pretrained(folder)",
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        "```",
    ]
    kind = anatomy.predicts.noun
    title = f"# Distilled {kind}" if teachers else f"# {kind.capitalize()}"
    sections = [front, [title], facts, ["## Use"], load, *_scores(training)]
    sections += [*_limits(training), *_cost(training), *_data(training), *_versions(training)]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _teacher(teacher: Mapping[str, Any]) -> str:
    revision = f" at {teacher['revision']}" if teacher["revision"] else ""
    return f"{teacher['name']}{revision} (sha256 of its weights {teacher['fingerprint']})"


def _codes(languages: Sequence[str]) -> list[str]:
    """The line of the card's header that the hub searches by: plain language codes only."""
    codes = [language for language in languages if re.fullmatch(r"[a-z]{2,3}", language)]
    return [f"language: [{', '.join(repr(code) for code in codes)}]"] if codes else []


def _scores(training: Training) -> list[list[str]]:
    if not training.measured.mean:
        return []
    columns = [metric for metric in training.metrics if metric.in_card]
    rows = [
        f"| {' | '.join([name, *(_cell(scores, metric) for metric in columns)])} |"
        for name, scores in {**training.measured.languages, "mean": training.measured.mean}.items()
    ]
    explanation = f"Held-out text after {training.measured_at} updates: {training.caption}"
    head = f"| {' | '.join(['language', *(metric.label for metric in columns)])} |"
    line = f"|{'---|' * (1 + len(columns))}"
    return [["## Scores"], [explanation], [head, line, *rows]]


def _cell(scores: Scores, metric: MetricSpec) -> str:
    value = scores.get(metric.name)
    return "" if value is None else f"{value:.{metric.digits}f}"


def _names(key: str, names: Sequence[object]) -> list[str]:
    """A line of the header that names what is on a hub; folders of one's own are left out."""
    known = [name for name in dict.fromkeys(names) if isinstance(name, str)]
    on_hub = [one for one in known if HUB_NAME.fullmatch(one) and not Path(one).exists()]
    return [f"{key}: {json.dumps(on_hub)}"] if on_hub else []


def _index(name: str, task: str, training: Training) -> list[str]:
    """The line of the header with the mean scores, as a hub shows them; JSON is YAML."""
    own = [metric for metric in training.metrics if metric.in_card and not metric.compares]
    means = {metric.name: training.measured.mean.get(metric.name) for metric in own}
    metrics = [
        {"type": name, "value": value, "name": f"{name}, mean over languages"}
        for name, value in means.items()
        if value is not None and math.isfinite(value)
    ]
    if not metrics:
        return []
    dataset = {"type": "held-out", "name": "held-out text of the run"}
    results = [{"task": {"type": task}, "dataset": dataset, "metrics": metrics}]
    return [f"model-index: {json.dumps([{'name': name, 'results': results}])}"]


def _limits(training: Training) -> list[list[str]]:
    """Where the student is worst, and what nobody measured."""
    if not training.metrics or not training.measured.mean:
        return []
    metric, mean = training.metrics[0], training.measured.mean
    known = {
        language: value
        for language, scores in training.measured.languages.items()
        if (value := scores.get(metric.name)) is not None
    }
    if len(known) < 2:
        return []
    worst = sorted(known, key=lambda one: known[one], reverse=metric.smaller_is_better)[:WORST]
    said = ", ".join(
        f"{escaped(one)} ({_cell({metric.name: known[one]}, metric)})" for one in worst
    )
    lines = [
        f"- By {metric.label} it is worst in {said}; the mean is {_cell(mean, metric)}.",
        "- Nothing is known of languages that the table of scores does not have, and of text of "
        "another kind than that of the run.",
    ]
    return [["## Limits"], lines]


def _cost(training: Training) -> list[list[str]]:
    """Sizes of the student and of its teachers."""
    models = {
        name: own
        for kind in ("students", "teachers")
        for name, own in _mapping(training.facts, kind).items()
        if isinstance(own, Mapping) and isinstance(own.get("parameters"), int)
    }
    if not models:
        return []
    rows = [
        table_row([name, str(own.get("layers", "")), f"{own['parameters'] / 1e6:,.2f} M"])
        for name, own in models.items()
    ]
    return [["## Cost"], [table_row(["model", "layers", "parameters"]), "|---|---:|---:|", *rows]]


def _data(training: Training) -> list[list[str]]:
    """What was read, under which licence."""
    rows = [
        table_row(
            escaped(str(origin.get(key) or unknown))
            for key, unknown in (
                ("texts", "?"),
                ("languages", "those above"),
                ("licence", "not noted"),
            )
        )
        for origin in _origins(training)
    ]
    if not rows:
        return []
    head = [table_row(["texts", "languages", "licence"]), "|---|---|---|"]
    note = "Whether a licence of texts says anything about a model is yours to judge."
    return [["## Data"], [*head, *rows], [note]]


def _versions(training: Training) -> list[list[str]]:
    known = _mapping(training.facts, "environment")
    said = [f"{name} {known[name]}" for name in VERSIONS if name in known]
    return [["## Made with"], [f"{', '.join(said)}."]] if said else []


def _origins(training: Training) -> list[Mapping[str, object]]:
    found = _mapping(training.facts, "data").get("origins")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _mapping(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = facts.get(key)
    return found if isinstance(found, Mapping) else {}
