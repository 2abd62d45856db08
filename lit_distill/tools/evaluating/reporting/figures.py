"""Figures of an evaluation: what is retained in which language, and what quality costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from callbacks.reports.figures import MEAN, PALETTE
from lit_distill.tools.evaluating.reporting.cost import Cost
from lit_distill.tools.evaluating.scoring.resampling import Sampled
from lit_distill.tools.evaluating.scoring.retention import Level
from lit_distill.tools.evaluating.scoring.score import Scored

_COLUMNS = 4


def retention_per_language(scored: Scored) -> Figure:
    """A panel per task with a row per language and a dot with its interval per student."""
    tasks = {
        name: task.leading[1] for name, task in scored.tasks.items() if not task.leading[1].why
    }
    if not tasks:
        return _empty("Retention is measurable on no task")
    columns = min(_COLUMNS, len(tasks))
    lines = ceil(len(tasks) / columns)
    most = max(len(level.measurable_parts) for level in tasks.values())
    size = (max(3.4 * columns, 5.0), lines * (0.34 * most + 1.0) + 0.6)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    students = scored.roles.students(
        dict.fromkeys(name for level in tasks.values() for name in level.retention)
    )
    for panel, (name, level) in zip(panels, tasks.items(), strict=False):
        _panel(panel, name, level, students)
    for panel in panels[len(tasks) :]:
        panel.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.suptitle("Retention above chance, %, with 95 % intervals", fontsize=10)
    return figure


def _panel(axis: Axes, title: str, level: Level, students: Sequence[str]) -> None:
    languages = list(level.measurable_parts)
    for place, student in enumerate(students):
        shift = 0.5 * ((place + 0.5) / len(students) - 0.5)
        own = [level.parts[language].retention.get(student) for language in languages]
        rows = [row + shift for row in range(len(languages))]
        _dots(axis, rows, own, PALETTE[place % len(PALETTE)], student)
    axis.axvline(100, color=MEAN, linewidth=0.8, linestyle=":")
    axis.set_yticks(range(len(languages)), languages, fontsize=8)
    axis.set_ylim(len(languages) - 0.4, -0.6)
    axis.set_title(title, fontsize=9)
    _plain(axis)


def _dots(
    axis: Axes, rows: Sequence[float], numbers: Sequence[Sampled | None], color: str, label: str
) -> None:
    known = [(row, own) for row, own in zip(rows, numbers, strict=True) if own and own.defined]
    axis.plot(
        [100 * own.value for _, own in known],
        [row for row, _ in known],
        "o",
        color=color,
        markersize=4.5,
        label=label,
    )
    for row, own in known:
        if own.interval:
            low, high = own.interval
            axis.hlines(row, 100 * low, 100 * high, color=color, linewidth=1.2)


def quality_against_cost(scored: Scored, costs: Mapping[str, Cost]) -> Figure:
    """The mean score of each model over its time per text; over its parameters if not timed."""
    mean = scored.mean
    names = [name for name in costs if mean and name in mean.scores and mean.scores[name].defined]
    if mean is None or not names:
        return _empty("No costs were measured" if scored.tasks else "Nothing was measured")
    times = {name: own for name in names if (own := _milliseconds(costs[name])) is not None}
    timed = len(times) == len(names)
    prices = times if timed else {name: costs[name].parameters / 1e6 for name in names}
    figure = Figure(figsize=(6.0, 4.0), dpi=100, layout="constrained")
    axis = figure.subplots()
    for place, name in enumerate(names):
        price, score, color = prices[name], mean.scores[name], PALETTE[place % len(PALETTE)]
        axis.plot([price], [score.value], "o", color=color)
        if score.interval:
            axis.vlines([price], *score.interval, color=color, linewidth=1.2)
        axis.annotate(name, (price, score.value), (6, 4), textcoords="offset points", fontsize=8)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("{x:g}")
    unit = "ms per text, batch 1" if timed else "million parameters"
    axis.set_xlabel(unit, fontsize=8)
    axis.set_ylabel("mean score over tasks, with 95 % intervals", fontsize=8)
    axis.margins(x=0.25, y=0.15)
    _plain(axis)
    return figure


def _milliseconds(cost: Cost) -> float | None:
    """Of a single text of the longest length."""
    alone = [timing for timing in cost.timings if timing.batch == 1]
    return max(alone, key=lambda timing: timing.length).median if alone else None


def _plain(axis: Axes) -> None:
    axis.tick_params(axis="both", which="both", labelsize=8)
    axis.grid(color="#eeeeee", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _empty(why: str) -> Figure:
    figure = Figure(figsize=(5.0, 1.0), dpi=100)
    figure.text(0.5, 0.5, f"{why}.", ha="center", va="center", fontsize=10)
    return figure
