"""A student as a plain Hugging Face folder, which loads without this project."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers.utils import logging

from lit_distill.files.atomic_files import replacing
from lit_distill.files.output_folders import mark
from lit_distill.measures import LanguageModelMeasure, Measurement, MetricSpec, Scores
from lit_distill.models import (
    anatomy_of,
    declare_separate,
    restore_generation,
    shortest_module_names,
    student_from_state,
    undo,
    write_exported,
    write_tokenizer_files,
)

Precision = Literal["float32", "bfloat16", "float16"]


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
    """

    updates: int
    languages: Sequence[str] = ()
    measured: Measurement = field(default_factory=Measurement)
    measured_at: int | None = None
    metrics: Sequence[MetricSpec] = LanguageModelMeasure.metrics
    caption: str = LanguageModelMeasure.caption
    untrained: Sequence[str] = ()


def write_student(
    folder: Path,
    name: str,
    description: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    training: Training,
    dtype: Precision = "float32",
    exported: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes weights, config, tokenizer, model card and the run's config; all or nothing.

    Needs no teacher, and draws no random numbers that a run would miss.

    Args:
        folder: replaced if it exists; `check_output` says whether that loses anything.
        name: of the student, in `description`.
        description: what a checkpoint holds under `lit_distill.training.checkpoints.KEY`.
        weights: the state dict of the student's `LanguageModel`.
        training: for the card.
        dtype: of the written weights.
        exported: the state dict of the run's `exported` modules, if it has any.
    """
    with torch.random.fork_rng(devices=[]):  # fresh weights are drawn, then overwritten
        student = student_from_state(description["students"][name], weights)
    student.load_state_dict(weights, strict=True)
    generation = description["students"][name].get("generation")  # the first release noted none
    restore_generation(
        student, generation, description.get("endings", ()), description.get("padding")
    )
    # names of a changed student mean nothing in a plain one, whose notes say what was trained
    untrained = () if student.surgeries else shortest_module_names(training.untrained, student)
    with replacing(folder) as beside:
        undo(student, beside)
        declare_separate(student.model)
        shows_progress = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        student.model.to(getattr(torch, dtype)).save_pretrained(beside)
        if shows_progress:
            logging.enable_progress_bar()
        parts = description.get("exported", {})
        write_exported(beside, parts, exported or {}, getattr(torch, dtype))
        write_tokenizer_files(beside, description["tokenizer"])
        card = model_card(name, description, replace(training, untrained=untrained))
        (beside / "README.md").write_text(card, encoding="utf-8")
        if description["config"]:
            (beside / "config.yaml").write_text(description["config"], encoding="utf-8")
        mark(beside)


def model_card(name: str, description: Mapping[str, Any], training: Training) -> str:
    """The README of an exported student: where it comes from, how good it is, how to load it."""
    teachers = [_teacher(teacher) for teacher in description["teachers"].values()]
    config = description["students"][name]["config"]
    anatomy = anatomy_of(config["architectures"][0])
    loader = anatomy.auto_class
    front = [
        "---",
        "library_name: transformers",
        f"pipeline_tag: {anatomy.pipeline_tag}",
        "tags: [lit_distill, knowledge-distillation]",
        *_codes(training.languages),
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
    kind = "classifier" if anatomy.has_labels else "language model"
    title = f"# Distilled {kind}" if teachers else f"# {kind.capitalize()}"
    sections = [front, [title], facts, ["## Use"], load, *_scores(training)]
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
