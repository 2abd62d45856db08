"""Charts as SVG inside of a page: text stays text, and colours are the page's own.

They are drawn for the width of a phone, so that their letters are legible there, and lie side by
side on wider screens. Every colour becomes a variable of the page's style, which has one set of
values for light and one for dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from warnings import catch_warnings, simplefilter

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lit_distill.tools.reporting.parts import Chart

INK, LINE, GREY = "#010203", "#040506", "#070809"
SERIES = tuple(f"#0a0b{number:02x}" for number in range(1, 9))
"""Colours that no figure has by chance, each to be replaced by a variable."""
VARIABLES = {INK: "currentColor", LINE: "var(--line)", GREY: "var(--grey)"} | {
    colour: f"var(--s{number})" for number, colour in enumerate(SERIES, 1)
}
WIDTH = 4.1
"""Inches, of 72 points of SVG each."""
SHOWN_ROWS = 40
"""Of more bars, the worst ones are drawn; tables have all."""
POINTS = 300
"""Of a curve: more cannot be told apart at this width."""
PREFIX = "chart-0-"
"""How names inside of a chart begin, until a page makes them differ from those of others."""
LARGEST = 1e30
"""Numbers from there on are left to the tables."""

Points = Sequence[tuple[float, float]]


def bars(
    title: str,
    values: Mapping[str, Mapping[str, float]],
    smaller_is_better: bool,
    order: Sequence[str] = (),
) -> Chart:
    """Horizontal bars from zero, grouped by row, with their numbers at their ends.

    Args:
        title: what the numbers are, with their unit.
        values: by series and row.
        smaller_is_better: which rows are drawn where there are many.
        order: series that have the first colours, so that one has the same in several charts.
    """
    order = list(dict.fromkeys([*order, *values]))
    values = {
        series: {row: value for row, value in own.items() if _drawable(value)}
        for series, own in values.items()
    }
    rows = list(dict.fromkeys(row for own in values.values() for row in own))
    first = next(iter(values.values()))
    if len(rows) > SHOWN_ROWS:
        sign = -1 if smaller_is_better else 1
        worst = sorted(rows, key=lambda row: sign * first.get(row, 0.0))[:SHOWN_ROWS]
        title += f"; the {SHOWN_ROWS} worst of {len(rows)}"
        rows = [row for row in rows if row in worst]

    def draw(axis: Axes) -> None:
        thick = 0.8 / len(values)
        ends = [value for own in values.values() for row, value in own.items() if row in rows]
        span = max([*ends, 0.0]) - min([*ends, 0.0]) or 1.0
        for place, (name, own) in enumerate(values.items()):
            known = [(number, own[row]) for number, row in enumerate(rows) if row in own]
            heights = [number + thick * (place - (len(values) - 1) / 2) for number, _ in known]
            lengths = [value for _, value in known]
            colour = SERIES[order.index(name) % len(SERIES)]
            axis.barh(heights, lengths, 0.9 * thick, color=colour, label=_plain(name))
            for height, value in zip(heights, lengths, strict=True):
                shift = 0.01 * span if value >= 0 else -0.01 * span
                side = "left" if value >= 0 else "right"
                text = f"{value:.3g}"
                axis.text(value + shift, height, text, va="center", ha=side, fontsize=7)
        axis.set_yticks(range(len(rows)), [_plain(row) for row in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.margins(x=0.15)
        axis.axvline(0, color=LINE, linewidth=0.8)
        axis.grid(axis="x", linewidth=0.6)

    height = 0.14 * len(rows) * max(len(values), 1.4) + 0.5
    return chart(title, draw, height, legend=len(values) > 1)


def lines(title: str, curves: Mapping[str, Points], below: str = "updates") -> Chart:
    """A line per curve; of more than there are colours, the rest is grey.

    Args:
        title: what the numbers are, with their unit.
        curves: points by name, rising in the first number.
        below: what the first number is.
    """

    def draw(axis: Axes) -> None:
        for place, (name, points) in enumerate(curves.items()):
            coloured = place < len(SERIES)
            some = thinned([point for point in points if _drawable(point[1])])
            axis.plot(
                [x for x, _ in some],
                [y for _, y in some],
                color=SERIES[place] if coloured else GREY,
                linewidth=1.4 if coloured else 0.7,
                marker="o" if len(some) < 8 else "",
                markersize=3,
                label=_plain(name) if coloured else None,
                zorder=2 if coloured else 1,
            )
        axis.set_xlabel(below)
        axis.grid(linewidth=0.6)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))

    return chart(title, draw, 1.9, legend=len(curves) > 1)


def dots(
    title: str,
    places: Mapping[str, tuple[float, float]],
    across: str,
    up: str,
    spans: Mapping[str, tuple[float, float]] | None = None,
) -> Chart:
    """A dot for each model, such as what it is worth over what it costs.

    Args:
        title: what it is about.
        places: across and up, by model.
        across: what the first number is, with its unit; on a logarithmic scale if it varies much.
        up: what the second is.
        spans: intervals of the second number, of models that have one.
    """
    places = {n: (x, y) for n, (x, y) in places.items() if _drawable(x) and _drawable(y)}

    def draw(axis: Axes) -> None:
        for number, (name, (x, y)) in enumerate(places.items()):
            colour = SERIES[number % len(SERIES)]
            axis.plot([x], [y], "o", color=colour, label=_plain(name))
            if name in (spans or {}):
                axis.vlines([x], *(spans or {})[name], color=colour, linewidth=1.2)
        prices = [x for x, _ in places.values()]
        if prices and min(prices) > 0 and max(prices) > 5 * min(prices):
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter("{x:g}")
        axis.set_xlabel(across)
        axis.set_ylabel(up)
        axis.margins(x=0.15, y=0.15)
        axis.grid(linewidth=0.6)

    return chart(title, draw, 2.4, legend=True)


def chart(title: str, draw: Callable[[Axes], None], height: float, legend: bool) -> Chart:
    """One pair of axes as a chart.

    Args:
        title: of the chart, and what it is called for those who do not see it.
        draw: fills the axes.
        height: of the axes, in inches.
        legend: whether to show names, below.
    """
    title = _sound(title)
    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": title,  # no name by chance: the same run gives the same page
        "text.parse_math": False,  # names with dollars are names
        "text.color": INK,
        "axes.edgecolor": LINE,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": LINE,
        "font.size": 8,
        "axes.labelsize": 8,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
    }
    with rc_context(style):
        figure = Figure(figsize=(WIDTH, height + 0.35), layout="constrained")
        axis = figure.subplots()
        draw(axis)
        axis.set_axisbelow(True)
        axis.patch.set_visible(False)
        axis.tick_params(length=0)
        axis.spines[["top", "right", "left", "bottom"]].set_visible(False)
        if legend:
            handles, labels = axis.get_legend_handles_labels()
            lines_of_names = -(-len(labels) // 3)
            figure.set_figheight(height + 0.35 + 0.2 * lines_of_names)
            columns = min(3, max(len(labels), 1))
            figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
        written = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with catch_warnings():  # of letters that matplotlib's font lacks: the reader's has them
            simplefilter("ignore", UserWarning)
            figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    return Chart(title, Markup(inline(written.getvalue(), title)))


def inline(document: str, title: str) -> str:
    """The SVG element of a document by matplotlib, as a part of a page.

    Args:
        document: as it was written.
        title: what it is called. Its names begin with `PREFIX`, which a page numbers.
    """
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style type=\"text/css\">.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{PREFIX}', svg)
    svg = svg.replace('xlink:href="#', f'href="#{PREFIX}').replace("url(#", f"url(#{PREFIX}")
    # the family and the size of a text; the family is the page's
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r'<svg ([^>]*?)width="[\d.]+pt" height="[\d.]+pt"', r"<svg \1", svg, count=1)
    label = Markup('role="img" aria-label="{}"').format(title)
    return svg.replace("<svg ", f"<svg {label} ", 1)


def thinned(points: Points) -> Points:
    """Some hundred points of a curve, evenly over it, with its first and its last."""
    if len(points) <= POINTS:
        return points
    step = (len(points) - 1) / (POINTS - 1)
    return [points[round(number * step)] for number in range(POINTS)]


def _plain(name: str) -> str:
    """A name that a legend and an axis show: in part if it is long, also if it begins with _."""
    sound = _sound(name if len(name) <= 28 else f"{name[:27]}…")
    return f"\u200b{sound}" if sound.startswith("_") else sound


def _sound(text: str) -> str:
    """A text without halves of letters, which JSON can hold and no file."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _drawable(value: float) -> bool:
    """Whether a number is of a size that axes have."""
    return abs(value) < LARGEST
