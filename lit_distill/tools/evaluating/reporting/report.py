"""The report of an evaluation: results.json, report.md, two figures, a table on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console

from lit_distill.files import strict_json
from lit_distill.files.atomic_files import replacing
from lit_distill.tools.evaluating.cells.cell import CellResult
from lit_distill.tools.evaluating.reporting.cost import Cost
from lit_distill.tools.evaluating.reporting.figures import (
    quality_against_cost,
    retention_per_language,
)
from lit_distill.tools.evaluating.reporting.tables import page, tables
from lit_distill.tools.evaluating.scoring.resampling import Sampled
from lit_distill.tools.evaluating.scoring.retention import Level, Roles
from lit_distill.tools.evaluating.scoring.score import Scored, score

RESULTS, PAGE = "results.json", "report.md"
RETENTION, QUALITY = "retention.png", "quality.png"

Probes = Mapping[str, Mapping[str, Mapping[str, float | None]]]
"""Numbers by probe, model and name."""


def write_report(
    output: Path,
    cells: Sequence[CellResult],
    *,
    models: Mapping[str, str],
    reference: str,
    control: str | None = None,
    metrics: Mapping[str, Sequence[str]] | None = None,
    costs: Mapping[str, Cost] | None = None,
    probes: Probes | None = None,
    marks: Mapping[str, str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Scored:
    """Scores all cells, writes what was found into a folder and prints the main tables.

    Nothing in it depends on the order of the cells, and the same cells give the same files.

    Args:
        output: the folder; results.json, report.md, retention.png and quality.png in it are
            replaced, each whole or not at all.
        cells: what there is; broken ones are told, missing ones left out.
        models: folders or hub names by name.
        reference: name of the teacher.
        control: name of the model that had no teacher.
        metrics: names by task, the leading one first; of tasks without an entry the usual ones.
        costs: by model.
        probes: numbers by probe, model and name.
        marks: hashes of the files of models, by which a model card knows whom this is about.
        resamples: how often the examples are drawn anew for the intervals.
        seed: of these draws.

    Raises:
        UserError: a file cannot be written.
    """
    ordered = _in_order(cells, list(models), list(metrics or {}))
    scored = score(ordered, Roles(reference, control), metrics or {}, resamples, seed)
    costs, probes = costs or {}, probes or {}
    settings = {"reference": reference, "control": control, "resamples": resamples, "seed": seed}
    priced = {name: asdict(cost) for name, cost in costs.items()}
    results = {"models": dict(models), "marks": dict(marks or {}), **settings, **_plain(scored)}
    results |= {"cost": priced, "probes": probes, "cells": _finished(ordered)}
    found = tables(scored, costs, probes)
    _write(output / RESULTS, strict_json.dumps(results, indent=1) + "\n")
    _write(output / PAGE, page(found, scored, figures=(RETENTION, QUALITY)))
    _draw(output / RETENTION, retention_per_language(scored))
    _draw(output / QUALITY, quality_against_cost(scored, costs))
    Console().print(*(table.rich for table in found if table.printed), sep="\n")
    return scored


def _in_order(
    cells: Sequence[CellResult], models: Sequence[str], tasks: Sequence[str]
) -> list[CellResult]:
    """Cells as the evaluation names models and tasks, whatever was finished first."""

    def place(names: Sequence[str], name: str) -> tuple[int, str]:
        return (names.index(name), "") if name in names else (len(names), name)

    return sorted(
        cells, key=lambda cell: (place(tasks, cell.task), place(models, cell.model), cell.seed)
    )


def _finished(cells: Sequence[CellResult]) -> list[dict[str, Any]]:
    return [
        {"model": cell.model, "task": cell.task, "seed": cell.seed, "seconds": cell.seconds}
        for cell in cells
        if cell.predictions is not None
    ]


def _plain(scored: Scored) -> dict[str, Any]:
    tasks = {
        name: {
            "metric": task.leading[0],
            "metrics": {metric: _level(level) for metric, level in task.metrics.items()},
            "loyalty": task.loyalty,
            "left_out": task.left_out,
        }
        for name, task in scored.tasks.items()
    }
    overall = _level(scored.mean, parts=False) if scored.mean else None
    broken = [
        {"model": cell.model, "task": cell.task, "seed": cell.seed, "error": cell.error}
        for cell in scored.broken
    ]
    return {"tasks": tasks, "mean": overall, "broken": broken}


def _level(level: Level, parts: bool = True) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "examples": level.examples,
        "scores": _estimates(level.scores),
        "kept": _estimates(level.kept),
        "retention": _estimates(level.retention),
        "over_control": _estimates(level.over_control),
        "not_measurable": level.why,
    }
    if level.parts:
        plain["worst"] = {name: level.worst(name) for name in level.retention}
        plain["gap"] = {name: level.gap(name) for name in level.retention}
        plain["measurable"] = list(level.measurable_parts)
    else:
        plain["chance"] = asdict(level.chance.estimate) if level.chance else None
    if level.parts and parts:
        plain["languages"] = {name: _level(part) for name, part in level.parts.items()}
    return plain


def _estimates(numbers: Mapping[str, Sampled]) -> dict[str, Any]:
    return {name: asdict(number.estimate) for name, number in numbers.items()}


def _draw(path: Path, figure: Figure) -> None:
    with replacing(path) as beside:
        figure.savefig(beside, format="png", metadata={"Software": None})


def _write(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, "utf-8")
