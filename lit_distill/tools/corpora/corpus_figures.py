"""Figures of a corpus: what there is, how it is cut and written, how it is mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from callbacks.reports.figures import BEFORE, NOW, PALETTE
from lit_distill.tools.corpora.language_report import LENGTH_EDGES, LanguageReport

REST = "#d9d9d9"


def corpus_figures(
    reports: Mapping[str, LanguageReport], shares: Mapping[str, tuple[float, float]]
) -> dict[str, Figure]:
    """Figures by name.

    Args:
        reports: by language.
        shares: of the training tokens by language: by the sampler's formula, and as drawn.
    """
    figures = {"overview": _overview(reports, shares)}
    mixed = {name: report for name, report in reports.items() if len(report.mixing.languages) > 1}
    if mixed:
        figures["mixing"] = _mixing(mixed)
    return figures


def _overview(
    reports: Mapping[str, LanguageReport], shares: Mapping[str, tuple[float, float]]
) -> Figure:
    """Five panels with a row per language, the one with most tokens on top."""
    names = sorted(reports, key=lambda name: -reports[name].tokens)
    figure = Figure(figsize=(13.0, 0.24 * len(names) + 1.6), dpi=100, layout="constrained")
    panels = figure.subplots(1, 5, sharey=True, width_ratios=(1.3, 1.0, 0.7, 1.2, 1.2))
    _shares(panels[0], names, reports, shares)
    _dots(panels[1], "tokens per word", [reports[name].fertility or nan for name in names])
    unknown = [100 * reports[name].unknown_rate for name in names]
    _dots(panels[2], "unknown tokens, %", unknown)
    _lengths(panels[3], [reports[name] for name in names])
    _scripts(panels[4], [reports[name] for name in names])
    panels[0].set_yticks(range(len(names)), names, fontsize=8)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    for axis in panels:
        axis.tick_params(axis="x", labelsize=8)
        axis.tick_params(axis="y", length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.set_axisbelow(True)
    return figure


def _shares(
    axis: Axes,
    names: Sequence[str],
    reports: Mapping[str, LanguageReport],
    shares: Mapping[str, tuple[float, float]],
) -> None:
    """Bars: the share of the tokens there are; dots: drawn; a ring: by the formula."""
    total = max(sum(report.tokens for report in reports.values()), 1)
    rows = range(len(names))
    there = [100 * reports[name].tokens / total for name in names]
    axis.barh(rows, there, color=BEFORE, height=0.7, label="there")
    formula = [100 * shares[name][0] for name in names]
    drawn = [100 * shares[name][1] for name in names]
    axis.plot(formula, rows, "o", markerfacecolor="none", color=NOW, markersize=6, label="formula")
    axis.plot(drawn, rows, ".", color=NOW, markersize=4, label="drawn")
    axis.set_title("share of tokens, %", fontsize=9)
    axis.grid(axis="x", color="#eeeeee")
    axis.legend(fontsize=7, loc="lower right", frameon=False)


def _dots(axis: Axes, title: str, values: Sequence[float]) -> None:
    rows = range(len(values))
    axis.hlines(rows, 0, values, color=BEFORE, linewidth=1.0)
    axis.plot(values, rows, "o", color=NOW, markersize=4.5)
    axis.set_xlim(left=0)
    axis.set_title(title, fontsize=9)
    axis.grid(axis="x", color="#eeeeee")


def _lengths(axis: Axes, reports: Sequence[LanguageReport]) -> None:
    """Share of the documents in each bin of lengths, darker for more."""
    counts = np.stack([report.lengths for report in reports]).astype(float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axis.imshow(shares, aspect="auto", cmap="Blues", vmin=0, vmax=shares.max() or 1)
    ticks = range(0, len(LENGTH_EDGES), 2)
    axis.set_xticks(ticks, [f"{LENGTH_EDGES[tick]}" for tick in ticks])
    axis.set_title("documents by length, tokens from", fontsize=9)


def _scripts(axis: Axes, reports: Sequence[LanguageReport]) -> None:
    """Stacked shares of letters; the scripts with most of all have colours."""
    found = {script for report in reports for script in report.scripts}
    # by shares, so that small languages' scripts get a colour as well
    totals = {script: sum(_share(report, script, ()) for report in reports) for script in found}
    named = sorted(totals, key=lambda script: -totals[script])[: len(PALETTE)]
    left = np.zeros(len(reports), dtype=float)
    for script, colour in zip([*named, "other"], [*PALETTE[: len(named)], REST], strict=True):
        widths = np.array([100 * _share(report, script, named) for report in reports])
        axis.barh(range(len(reports)), widths, left=left, color=colour, height=0.7, label=script)
        left += widths
    axis.set_title("scripts, % of letters", fontsize=9)
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _share(report: LanguageReport, script: str, named: Sequence[str]) -> float:
    letters = max(report.scripts.total(), 1)
    if script != "other":
        return report.scripts[script] / letters
    return sum(n for one, n in report.scripts.items() if one not in named) / letters


def _mixing(reports: Mapping[str, LanguageReport]) -> Figure:
    """The statistics of mixing, a panel each, and the shares of the languages."""
    names = list(reports)
    titles = {
        "cmi": "CMI",
        "m_index": "M-index",
        "i_index": "I-index",
        "switch_point_fraction": "switch-point fraction",
        "burstiness": "burstiness",
        "language_entropy": "entropy, bits",
    }
    figure = Figure(figsize=(13.0, 0.3 * len(names) + 1.3), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(titles), sharey=True)
    for axis, (name, title) in zip(panels, titles.items(), strict=True):
        _dots(axis, title, [getattr(reports[mix].mixing, name) for mix in names])
        if name == "burstiness":
            axis.set_xlim(-1, 1)
            axis.axvline(0, color=BEFORE, linewidth=0.8)
        axis.tick_params(axis="both", labelsize=8, length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    return figure
