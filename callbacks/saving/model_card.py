"""The README of an exported student, with the header that a hub searches by."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from callbacks.reports.markdown import escaped, table_row
from lit_distill.measures import LanguageModelMeasure, Measurement, MetricSpec, Scores
from lit_distill.models import anatomy_of

HUB_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
"""A name of a hub; a path of two parts that is a folder here is none."""
_ISO_639_1 = (
    "aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy "
    "da de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht "
    "hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky "
    "la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny "
    "oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss "
    "st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo "
    "za zh zu"
)
ISO_639_1 = frozenset(_ISO_639_1.split())
"""Codes of two letters that are a language's; a hub refuses cards with any other."""
BASES = {
    "LayerCopyStudent": "layers of the teacher",
    "NarrowCopyStudent": "the teacher, narrower",
    "FactorisedCopyStudent": "layers of the teacher, narrow embeddings",
    "FreshStudent": "none, random weights",
}
"""What students began as that were not saved before."""
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
    start = _mapping(_mapping(_mapping(training.facts, "students"), name), "start")
    taught = [teacher["name"] for teacher in description["teachers"].values()]
    front = [
        "---",
        "library_name: transformers",
        f"pipeline_tag: {anatomy.pipeline_tag}",
        f"tags: [lit_distill{', knowledge-distillation' if teachers else ''}]",
        *_codes(training.languages),
        *_names("base_model", [start.get("name"), *taught]),
        *_names("datasets", [origin.get("dataset") for origin in _origins(training)]),
        *_index(name, anatomy.pipeline_tag, training),
        "---",
    ]
    facts = [
        f"- method: {description['method']}, {training.updates} updates",
        *_base(start),
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
        'folder = "."  # where this file is, or its name on a hub',
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


def _base(start: Mapping[str, Any]) -> list[str]:
    """What the student was before it was trained; nothing where a run did not note it."""
    if not start.get("kind"):
        return []
    name = start.get("name") or BASES.get(str(start["kind"]), "see the configuration")
    revision = f" at {start['revision']}" if start.get("revision") else ""
    return [f"- base: {name}{revision} (`{start['kind']}`)"]


def _codes(languages: Sequence[str]) -> list[str]:
    """The lines of the card's header that the hub searches by: languages, and scripts of them.

    A hub takes codes of ISO 639 alone as languages; mixes and names of one's own are in the text.
    """
    scripts = [one for one in languages if re.fullmatch(r"[a-z]{2,3}-[A-Z][a-z]{3}", one)]
    plain = dict.fromkeys(one.partition("-")[0] if one in scripts else one for one in languages)
    codes = [one for one in plain if one in ISO_639_1 or re.fullmatch(r"[a-z]{3}", one)]
    known = [one for one in scripts if one.partition("-")[0] in codes]
    found = {"language": codes, "language_bcp47": known}
    return [header_line(key, own) for key, own in found.items() if own]


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
    # of several bases a hub would think that they were merged
    relation = ["base_model_relation: finetune"] if key == "base_model" and on_hub[1:] else []
    return [header_line(key, on_hub), *relation] if on_hub else []


class _Plain(yaml.SafeDumper):
    """YAML in which what is there twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always."""
        return True


def header_line(key: str, value: Any) -> str:
    """A line of a card's header, of plain values; not JSON, whose 1e-05 is a text in YAML."""
    options: dict[str, Any] = {"default_flow_style": True, "sort_keys": False, "width": 10**9}
    return str(yaml.dump({key: value}, Dumper=_Plain, allow_unicode=True, **options)).strip()[1:-1]


def _index(name: str, task: str, training: Training) -> list[str]:
    """The line of the header with the mean scores, as a hub shows them."""
    own = [metric for metric in training.metrics if metric.in_card and not metric.compares]
    means = {metric.name: training.measured.mean.get(metric.name) for metric in own}
    metrics = [
        {"type": name, "value": round(value, 6), "name": f"{name}, mean over languages"}
        for name, value in means.items()
        if value is not None and math.isfinite(value)
    ]
    if not metrics:
        return []
    dataset = {"type": "held-out", "name": "held-out text of the run"}
    results = [{"task": {"type": task}, "dataset": dataset, "metrics": metrics}]
    return [header_line("model-index", [{"name": name, "results": results}])]


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
