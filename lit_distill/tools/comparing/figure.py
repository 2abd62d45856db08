"""The figure of a comparison: loss against what models and their training cost."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from callbacks.reports.figures import PALETTE
from lit_distill.tools.comparing.rows import Method


@dataclass(frozen=True)
class Point:
    """A method in a panel.

    Attributes:
        price: where it stands.
        loss: mean over seeds.
        by_seed: under each seed.
        interval: the control's loss and the interval of the difference from it; None without one.
    """

    price: float
    loss: float
    by_seed: tuple[float, ...]
    interval: tuple[float, float] | None


def points_of(rows: Mapping[str, Method], control: str | None) -> dict[str, dict[str, Point]]:
    """Points by panel and method; a panel has those of which the cost is known.

    Args:
        rows: by method.
        control: name of the model with which the others are compared.
    """
    prices: dict[str, dict[str, float | None]] = {
        "sentences per second": {n: row.sentences_per_second for n, row in rows.items()},
        "seconds of training": {
            n: None if row.training is None else row.training.seconds for n, row in rows.items()
        },
    }
    base = None if control is None else rows[control].loss.mean
    found: dict[str, dict[str, Point]] = {}
    for title, own in prices.items():
        for name, price in own.items():
            if price:  # a truncation takes no time, which a logarithm cannot show
                row = rows[name]
                ends = None
                if base is not None and row.gap is not None:
                    ends = base + row.gap.low, base + row.gap.high
                point = Point(price, row.loss.mean, row.loss.by_seed, ends)
                found.setdefault(title, {})[name] = point
    return found


def drawn(rows: Mapping[str, Method], control: str | None) -> bytes:
    """The figure as a PNG: a panel for each cost, a point for each method, a dot for each seed."""
    panels = points_of(rows, control)
    colours = {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(rows)}
    size = (5.2 * len(panels), 4.0)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (title, points) in zip(axes, panels.items(), strict=True):
        for name, point in points.items():
            _draw(axis, name, point, colours[name])
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("{x:g}")
        axis.set_xlabel(title, fontsize=8)
        axis.margins(x=0.25, y=0.15)
        axis.tick_params(axis="both", which="both", labelsize=8)
        axis.grid(color="#eeeeee", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right", "left"]].set_visible(False)
    bars = "" if control is None else f"; bars: 95 % of the difference from {control}"
    axes[0].set_ylabel(f"held-out loss, nats{bars}", fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _draw(axis: Axes, name: str, point: Point, colour: str) -> None:
    axis.plot([point.price], [point.loss], "o", color=colour)
    seeds = [point.price] * len(point.by_seed)
    axis.plot(seeds, point.by_seed, "o", color=colour, markersize=2.5, alpha=0.6)
    if point.interval is not None:
        axis.vlines([point.price], *point.interval, color=colour, linewidth=1.2)
    axis.annotate(name, (point.price, point.loss), (6, 4), textcoords="offset points", fontsize=8)
