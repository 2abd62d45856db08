"""The sections about all runs of a report: side by side, data, configuration, environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lit_distill.tools.reporting.drawing import bars, lines
from lit_distill.tools.reporting.measured import Measured, smaller_is_better
from lit_distill.tools.reporting.parts import (
    Block,
    Chart,
    Charts,
    Code,
    Section,
    Table,
    Text,
    finite,
    number,
)
from lit_distill.tools.reporting.plain_files import inside, named, text_of
from lit_distill.tools.reporting.run_sections import millions
from lit_distill.tools.reporting.runs import CONFIG, Run

UNKNOWN = "not noted"
BASELINES = ("majority", "bag of words")
"""Models that `evaluate` asks beside the others."""


def side_by_side(runs: Sequence[Run]) -> Section:
    """What was trained from what, with the leading score of each."""
    rows = []
    for run in runs:
        leading = run.metrics[:1]
        for student in run.students:
            facts = inside(run.facts, "students", student)
            teachers = ", ".join(str(own.get("name", name)) for name, own in run.teachers.items())
            score = [f"{m.label} {number(run.mean(student).get(m.name))}" for m in leading]
            name = run.name if len(run.students) == 1 else f"{run.name}, {student}"
            size = [number(facts.get("layers")), millions(facts.get("parameters"))]
            updates = number(run.report.get("updates"))
            rows.append([name, run.method, teachers or "none", *size, updates, *(score or [""])])
    heading = ["run", "method", "teacher", "layers", "parameters", "updates", "at its best"]
    blocks: list[Block] = [Table("Runs", heading, rows)]
    charts = [chart for group in _alike(runs) for chart in _compared(group)]
    return Section("Runs side by side", [Charts(charts), *blocks] if charts else blocks)


def _alike(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs of which the same was measured, where they are two or more."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.metrics:
            groups.setdefault(f"{run.metrics} {named(run.facts, 'caption')}", []).append(run)
    return [group for group in groups.values() if len(group) > 1]


def _compared(own: Sequence[Run]) -> list[Chart]:
    metric = own[0].metrics[0]
    title = metric.figure or metric.label
    named_curves, values = {}, {}
    for run in own:
        for student in run.students:
            name = run.name if len(run.students) == 1 else f"{run.name}, {student}"
            if len(points := run.curves.points(run.tag(student, metric.name))) > 1:
                named_curves[name] = points
            scores = {
                n: s[metric.name] for n, s in run.languages(student).items() if metric.name in s
            }
            if scores:
                values[name] = scores
    of = ", ".join(run.name for run in own)
    charts = [lines(f"{title}: mean over languages ({of})", named_curves)] if named_curves else []
    return [
        *charts,
        *([bars(f"{title} ({of})", values, metric.smaller_is_better)] if values else []),
    ]


def data(runs: Sequence[Run]) -> Section:
    """What was read, in which languages, under which licence."""
    rows, blocks = [], list[Block]()
    for run in runs:
        about = inside(run.facts, "data")
        languages = about.get("languages")
        spoken = ", ".join(map(str, languages)) if isinstance(languages, list) else ""
        origins = about.get("origins")
        for one in origins if isinstance(origins, list) else ():
            own = named(one, "languages") or spoken
            licence = named(one, "licence") or UNKNOWN
            rows.append([run.name, named(about, "kind"), named(one, "texts"), own, licence])
    if rows:
        heading = ["run", "data module", "texts", "languages and mixes", "licence"]
        blocks.append(Table("Where texts come from", heading, rows, prose=True))
    if missing := [run.name for run in runs if not inside(run.facts, "data")]:
        blocks.append(
            Text(f"What these read is in their configuration only: {', '.join(missing)}.")
        )
    return Section("Data and licences", blocks)


def configuration(runs: Sequence[Run]) -> Section:
    """The files that repeat the runs."""
    blocks = list[Block]()
    for run in runs:
        text = text_of(run.folder / CONFIG, [])
        if text is not None:
            blocks.append(Code(f"{run.name}/{CONFIG}", text))
    return Section("Configuration", blocks)


def environment(runs: Sequence[Run]) -> Section:
    """Versions and machine, a column where runs differ."""
    known = {run.name: inside(run.facts, "environment") for run in runs}
    known = {name: own for name, own in known.items() if own}
    if not known:
        return Section("Environment", [Text("The runs did not note where they ran.")])
    groups: list[tuple[list[str], dict[str, object]]] = []
    for name, own in known.items():
        same = next((group for group in groups if group[1] == own), None)
        if same:
            same[0].append(name)
        else:
            groups.append(([name], own))
    names = list(dict.fromkeys(key for _, own in groups for key in own))
    heading = ["", *(", ".join(names) for names, _ in groups)]
    rows = [[key, *(named(own, key) for _, own in groups)] for key in names]
    return Section("Environment", [Table("Versions and machine", heading, rows, prose=True)])


def warnings(runs: Sequence[Run], measured: Sequence[Measured]) -> list[str]:
    """What one should know before believing a number; sentences."""
    found = []
    for run in runs:
        found += [f"{run.name}: {sentence}" for sentence in [*run.problems, *_of_run(run)]]
    for own in measured:
        found += [f"{own.name}: {sentence}" for sentence in [*own.problems, *_of_scores(own)]]
    return found


def _of_run(run: Run) -> list[str]:
    found = []
    if not run.report:
        found.append("there is no report.json: it was not validated, or is not at its end.")
    if not run.facts:
        found.append(
            "facts.json is missing: an earlier release ran, which did not note models, "
            "licences and environment."
        )
    if skipped := run.curves.last("train/skipped"):
        found.append(f"{number(skipped)} updates were left out: their loss was not a number.")
    for student in run.students:
        last = inside(run.report, "last", "students", student)
        for metric in run.metrics[:1]:
            best = run.mean(student).get(metric.name)
            end = finite(inside(last, "mean").get(metric.name))
            if best is None:
                found.append(f"{student} has no {metric.label} that is a number.")
            elif end is not None and end != best:
                at = number(run.entry(student).get("updates"))
                found.append(
                    f"{student} was best after {at} updates ({metric.label} {number(best)}), and "
                    f"{number(end)} at the end."
                )
    origins = inside(run.facts, "data").get("origins")
    unknown = [
        named(one, "texts")
        for one in (origins if isinstance(origins, list) else ())
        if not named(one, "licence")
    ]
    if unknown:
        found.append(f"no licence is noted for {', '.join(unknown)} (`licence` of a source).")
    return found


def _of_scores(own: Measured) -> list[str]:
    if not own.is_evaluation:
        return []
    found = []
    for task, about in inside(own.content, "tasks").items():
        metric = named(about, "metric")
        level = inside(about, "metrics", metric)
        falls = smaller_is_better(metric)
        found += _below_baselines(task, inside(level, "scores"), -1 if falls else 1)
        for model, gap in inside(level, "over_control").items():
            nearest = finite(inside(gap).get("high" if falls else "low"))
            if nearest is not None and (nearest >= 0 if falls else nearest <= 0):
                found.append(f"{task}: {model} is not better than its control beyond the interval.")
        if left := sum(int(finite(n) or 0) for n in inside(about, "left_out").values()):
            found.append(f"{task}: {left} examples were left out: not all models were asked them.")
    broken = own.content.get("broken")
    for cell in broken if isinstance(broken, list) else ():
        found.append(
            f"broken: {named(cell, 'model')}, {named(cell, 'task')}: {named(cell, 'error')}"
        )
    return found


def _below_baselines(task: str, scores: Mapping[str, Any], sign: int) -> list[str]:
    """Models that know less than the commonest answer, or than a bag of words."""
    values = {name: finite(inside(one).get("value")) for name, one in scores.items()}
    known = {name: sign * value for name, value in values.items() if value is not None}
    plain = {name: known.pop(name) for name in BASELINES if name in known}
    found = []
    for model, value in known.items():
        if better := [name for name, other in plain.items() if other > value]:
            found.append(f"{task}: {' and '.join(better)} did better than {model}.")
    return found
