"""What `trim-vocabulary` tells: a table on the screen, `trimming.json`, figures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from callbacks.reports.figures import BEFORE, NOW, PALETTE
from lit_distill.tools.trimming.measuring import Change, Size
from lit_distill.tools.trimming.verifying import Agreement

_WIDTH = 150


def console() -> Console:
    """The screen, wide enough for the tables where it is none."""
    found = Console()
    return found if found.is_terminal else Console(width=_WIDTH)


def language_table(changes: Mapping[str, Change], found: Mapping[str, Agreement]) -> Table:
    """A row for each language: how its held-out texts are cut, before and after."""
    table = Table(title="Held-out texts, before and after", title_justify="left")
    table.add_column("language", no_wrap=True)
    headings = ("tokens per word", "characters per token", "unknown", "lost pieces", "lost tokens")
    for heading in (*headings, "texts as before", "logits apart"):
        table.add_column(heading, justify="right")
    for language, change in changes.items():
        before, after, own = change.before.report, change.after.report, found[language]
        table.add_row(
            language,
            _pair(before.fertility, after.fertility, ".2f"),
            _pair(before.characters_per_token, after.characters_per_token, ".2f"),
            _pair(before.unknown_rate, after.unknown_rate, ".2%"),
            f"{change.lost_pieces:,}",
            f"{change.lost_share:.2%}",
            f"{own.whole:,} of {own.texts:,}",
            "" if own.logits is None else f"{own.logits:.1e}",
        )
    return table


def size_table(sizes: Mapping[str, Size]) -> Table:
    """A row for each size, by what it is the size of."""
    table = Table(title="Size", title_justify="left")
    table.add_column("")
    for heading in ("rows", "parameters", "without embeddings", "disk"):
        table.add_column(heading, justify="right")
    for name, size in sizes.items():
        numbers = (f"{size.rows:,}", f"{size.parameters:,}", f"{size.without_embeddings:,}")
        table.add_row(name, *numbers, f"{size.bytes / 1e6:,.1f} MB")
    return table


def _pair(before: float | None, after: float | None, form: str) -> str:
    if before is None or after is None:
        return ""
    return f"{before:{form}} → {after:{form}}"


def preview_table(sizes: Mapping[str, Size], cuts: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each budget: the size, and tokens compared with the whole vocabulary's.

    Args:
        sizes: of the whole and of every budget, by name.
        cuts: by the same names and by language, `Cut.numbers`; the first of them is the whole.
    """
    table = Table(title="Budgets; tokens of held-out texts", title_justify="left")
    table.add_column("pieces", justify="right")
    for heading in ("parameters", "disk", *next(iter(cuts.values()))):
        table.add_column(heading, justify="right")
    whole = next(iter(cuts.values()))
    for name, size in sizes.items():
        cells = [_growth(numbers, whole[language]) for language, numbers in cuts[name].items()]
        table.add_row(name, f"{size.parameters:,}", f"{size.bytes / 1e6:,.1f} MB", *cells)
    return table


def _growth(numbers: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    """Tokens per word (or characters per token) and how many more tokens these are."""
    per_word = numbers["tokens_per_word"]
    own = numbers["characters_per_token"] if per_word is None else per_word
    more = numbers["tokens"] / max(whole["tokens"], 1) - 1
    return f"{own:.2f} ({more:+.1%})"


def change_figure(changes: Mapping[str, Change], before: Size, after: Size) -> bytes:
    """A PNG: what each language's texts cost before (light) and after, and what the model is."""
    names = sorted(changes)
    figure = Figure(figsize=(12.0, 0.24 * len(names) + 1.8), dpi=100, layout="constrained")
    panels = figure.subplots(1, 4, width_ratios=(1.2, 1.2, 1.0, 1.0))
    reports = {name: (changes[name].before.report, changes[name].after.report) for name in names}
    titles = ("tokens per word", "characters per token", "unknown tokens, %")
    for axis, title in zip(panels, titles, strict=False):
        pairs = [tuple(_value(title, one) for one in reports[name]) for name in names]
        _dumbbells(axis, names, pairs)
        axis.set_title(title, fontsize=9)
    _bars(panels[3], before, after)
    return _png(figure)


def _value(title: str, report: Any) -> float:
    if title == "tokens per word":
        return nan if report.fertility is None else float(report.fertility)
    if title == "characters per token":
        return float(report.characters_per_token)
    return 100 * float(report.unknown_rate)


def _dumbbells(axis: Axes, names: Sequence[str], pairs: Sequence[tuple[float, ...]]) -> None:
    rows = range(len(names))
    before, after = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    axis.hlines(rows, before, after, color=BEFORE, linewidth=1.2)
    axis.plot(before, rows, "o", color=BEFORE, markersize=5)
    axis.plot(after, rows, "o", color=NOW, markersize=4)
    axis.set_yticks(rows, names, fontsize=8)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlim(left=0)
    _plain(axis)


def _bars(axis: Axes, before: Size, after: Size) -> None:
    rest = [size.without_embeddings / 1e6 for size in (before, after)]
    tables = [(size.parameters - size.without_embeddings) / 1e6 for size in (before, after)]
    axis.bar(("before", "after"), rest, color=BEFORE, label="the rest")
    axis.bar(("before", "after"), tables, bottom=rest, color=NOW, label="rows of tokens")
    axis.set_title("parameters, millions", fontsize=9)
    axis.legend(fontsize=7, frameon=False)
    _plain(axis)


def preview_figure(sizes: Mapping[str, Size], cuts: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A PNG: a line per language, tokens against pieces, beside parameters against pieces."""
    figure = Figure(figsize=(10.0, 4.0), dpi=100, layout="constrained")
    grown, large = figure.subplots(1, 2)
    names = list(sizes)[1:]
    whole = next(iter(cuts.values()))
    rows = [sizes[name].rows for name in names]
    for place, language in enumerate(whole):
        base = max(whole[language]["tokens"], 1)
        more = [100 * (cuts[name][language]["tokens"] / base - 1) for name in names]
        colour = PALETTE[place % len(PALETTE)]
        grown.plot(rows, more, "o-", color=colour, label=language, markersize=4)
    grown.set_title("more tokens than with the whole vocabulary, %", fontsize=9)
    grown.legend(fontsize=7, frameon=False, ncols=max(len(whole) // 12, 1))
    large.plot(rows, [sizes[name].parameters / 1e6 for name in names], "o-", color=NOW)
    first = next(iter(sizes.values()))
    large.axhline(first.parameters / 1e6, color=BEFORE, linewidth=1.2)
    large.set_ylim(bottom=0)
    large.set_title("parameters, millions; light: the whole model", fontsize=9)
    for axis in (grown, large):
        axis.set_xlabel("pieces", fontsize=8)
        _plain(axis)
    return _png(figure)


def _plain(axis: Axes) -> None:
    axis.tick_params(axis="both", labelsize=8)
    axis.grid(color="#eeeeee", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
