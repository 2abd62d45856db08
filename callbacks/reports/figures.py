"""Figures of a number per language: readable with three languages and with a hundred.

They are made without pyplot, which would keep every one of them alive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

NOW, BEFORE, MEAN = "#1f5fa8", "#b9c4d0", "#444444"
PALETTE = ("#1f5fa8", "#d1495b", "#2e8b57", "#e08e1b", "#7b4fa3", "#16a2b8", "#8c6d46", "#e377c2")
DOTS_PER_COLUMN = 36
LABELLED = len(PALETTE)


def dots(title: str, now: dict[str, float], before: dict[str, float] | None = None) -> Figure:
    """A dot per language, lowest on top; lighter dots show the value of the time before.

    Args:
        title: what the numbers are, with their unit.
        now: values by language; those that are not finite are left out.
        before: values by language, or None the first time.
    """
    order = sorted((name for name in now if math.isfinite(now[name])), key=lambda name: now[name])
    columns = max(math.ceil(len(order) / DOTS_PER_COLUMN), 1)
    per_column = math.ceil(len(order) / columns) if order else 1
    figure = Figure(
        figsize=(max(3.2 * columns, 5.0), 0.19 * per_column + 1.2), dpi=100, layout="constrained"
    )
    axes = figure.subplots(1, columns, sharex=True, squeeze=False)[0]
    mean = sum(now[name] for name in order) / max(len(order), 1)
    for column, axis in enumerate(axes):
        names = order[column * per_column : (column + 1) * per_column]
        _column_of_dots(axis, names, now, before or {}, mean)
        axis.set_ylim(per_column - 0.4, -0.6)
    note = "; light: the time before" if before else ""
    figure.suptitle(f"{title} (mean {mean:.4g}{note})", fontsize=10)
    return figure


def _column_of_dots(
    axis: Axes, names: Sequence[str], now: dict[str, float], before: dict[str, float], mean: float
) -> None:
    places = range(len(names))
    axis.axvline(mean, color=MEAN, linewidth=0.8, linestyle=":")
    past = [before.get(name, math.nan) for name in names]  # what is not finite is not drawn
    axis.hlines(places, past, [now[name] for name in names], color=BEFORE, linewidth=1.2)
    axis.plot(past, places, "o", color=BEFORE, markersize=3.5)
    axis.plot([now[name] for name in names], places, "o", color=NOW, markersize=4.5)
    axis.set_yticks(places, names, fontsize=8)
    axis.tick_params(axis="x", labelsize=8)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="both", color="#eeeeee", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)


def lines(title: str, steps: Sequence[int], history: Mapping[str, Sequence[float]]) -> Figure:
    """A line per language over training, named at its end.

    Of more languages than there are colours, the best and worst ones are coloured and named; the
    others are grey.

    Args:
        title: what the numbers are, with their unit.
        steps: updates at which they were measured.
        history: one value per step (NaN where there is none) by language.
    """
    order = named = sorted(history)  # by name, so that a language keeps its colour
    if len(order) > LABELLED:
        order = sorted(history, key=lambda name: _or_infinite(history[name][-1]))
        named = order[: LABELLED // 2] + order[-LABELLED // 2 :]
    figure = Figure(figsize=(7.0, 4.2), dpi=100, layout="constrained")
    axis = figure.subplots()
    for name in order:
        if name not in named:
            axis.plot(steps, history[name], color=BEFORE, linewidth=0.7)
    for name, colour in zip(named, PALETTE, strict=False):
        axis.plot(steps, history[name], color=colour, linewidth=1.6, marker="o", markersize=2.5)
    means = [_mean([values[index] for values in history.values()]) for index in range(len(steps))]
    axis.plot(steps, means, color=MEAN, linewidth=1.6, linestyle="--")
    ends = {name: history[name][-1] for name in named} | {"mean": means[-1]}
    colours = dict(zip(named, PALETTE, strict=False)) | {"mean": MEAN}
    _name_ends(axis, ends, colours)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("updates", fontsize=8)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axis.tick_params(labelsize=8)
    axis.grid(color="#eeeeee", linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _name_ends(axis: Axes, ends: dict[str, float], colours: dict[str, str]) -> None:
    """Writes names right of the axes at the height of the lines' ends, pushed apart."""
    low, high = axis.get_ylim()
    places = {
        name: (value - low) / (high - low) for name, value in ends.items() if math.isfinite(value)
    }
    gap, lowest = 0.045, -math.inf
    for name in sorted(places, key=lambda name: places[name]):
        lowest = max(places[name], lowest + gap)
        axis.annotate(
            name,
            (1.01, lowest),
            xycoords="axes fraction",
            fontsize=8,
            color=colours[name],
            verticalalignment="center",
            annotation_clip=False,
        )


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _or_infinite(value: float) -> float:
    return value if math.isfinite(value) else math.inf
