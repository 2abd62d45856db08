"""The tables of methods x seeds, for the screen and for pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from callbacks.reports.boards import markdown
from lit_distill.tools.comparing.fairness import Deviation, Records
from lit_distill.tools.comparing.grid import Grid
from lit_distill.tools.comparing.rows import Method


@dataclass(frozen=True)
class GridTable:
    """A table with a row for each method.

    Attributes:
        title: above it.
        heading: of its columns.
        rows: its cells.
    """

    title: str
    heading: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def rich(self) -> Table:
        """For the screen."""
        table = Table(title=self.title, title_justify="left")
        for number, name in enumerate(self.heading):
            table.add_column(name, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    @property
    def markdown(self) -> str:
        """For a page."""
        return f"**{self.title}**\n\n{markdown(self.heading, self.rows)}"


def tables_of(grid: Grid, rows: Mapping[str, Method]) -> list[GridTable]:
    """Quality by seed, the loss by language, and cost.

    Args:
        grid: which models.
        rows: by method.
    """
    return [_quality(grid, rows), _languages(rows), _cost(rows)]


def remarks_on(grid: Grid, records: Records, deviations: Sequence[Deviation]) -> list[str]:
    """Lines below the tables: what the intervals are, what was asserted, and what was not."""
    found = []
    if grid.control is not None:
        over = " alone, as there is one seed" if len(grid.seeds) == 1 else ", and over seeds"
        found.append(
            f"In brackets 95 % intervals of the difference from {grid.control}, paired, over "
            f"held-out windows{over}."
        )
        if not grid.is_by_seed(grid.control) and len(grid.seeds) > 1:
            found.append(f"{grid.control} is one model for all seeds.")
    for one in deviations:
        found.append(f"Not alike, and compared all the same: {one.sentence}.")
    first = records[grid.seeds[0]]
    unknown = [name for name, own in first.items() if own is None and name != grid.reference]
    if unknown:
        found.append(f"In no run folder, so that nothing is asserted of them: {_listed(unknown)}.")
    silent = [name for name, own in first.items() if own is not None and not own.order]
    if silent := [name for name in silent if (own := first[name]) and not own.is_start]:
        found.append(
            "Runs of an earlier release, of which the settings were compared and not what was "
            f"read: {_listed(silent)}."
        )
    found += [line for own in first.values() if own is not None for line in own.problems]
    return found


def _quality(grid: Grid, rows: Mapping[str, Method]) -> GridTable:
    heading = ["", *(f"seed {seed}" for seed in grid.seeds), "loss, mean", "sd"]
    if grid.control is not None:
        heading += [f"less {grid.control}'s", "95 % interval"]
    if grid.reference is not None:
        heading.append(f"agreement with {grid.reference}")
    heading.append("worst language")
    lines = []
    for name, row in rows.items():
        own = dict(zip(grid.seeds_of(name), row.loss.by_seed, strict=False))
        line = [name, *(_loss(own.get(seed)) for seed in grid.seeds)]
        line += [_loss(row.loss.mean), _loss(row.loss.sd)]
        if grid.control is not None:
            gap = row.gap
            line += ["", ""] if gap is None else [f"{gap.value:+.3f}", _interval(gap.low, gap.high)]
        if grid.reference is not None:
            line.append("" if row.agreement is None else f"{row.agreement.mean:.3f}")
        language, loss = row.worst
        lines.append([*line, f"{language} {loss:.3f}"])
    title = "Loss on held-out text, nats per target: means over languages"
    return GridTable(title, heading, lines)


def _languages(rows: Mapping[str, Method]) -> GridTable:
    names = next(iter(rows.values())).scores
    shown = [[language, *(_loss(row.scores[language]["loss"]) for row in rows.values())]
             for language in names]  # fmt: skip
    return GridTable("Loss by language, means over seeds", ["", *rows], shown)


def _cost(rows: Mapping[str, Method]) -> GridTable:
    heading = ["", "parameters", "without embeddings", "disk", "sentences/s"]
    heading += ["updates", "tokens read", "training, s"]
    lines = []
    for name, row in rows.items():
        line = [name, f"{row.parameters / 1e6:.2f} M", f"{row.without_embeddings / 1e6:.2f} M"]
        line += [f"{row.disk / 1e6:.1f} MB", f"{row.sentences_per_second:.0f}"]
        lines.append([*line, *_training(row)])
    return GridTable("Cost, of models and of their training", heading, lines)


def _training(row: Method) -> list[str]:
    own = row.training
    if own is None:
        return ["", "", ""]
    made = () if own.updates is None else (*own.earlier, own.updates)
    updates = " + ".join(f"{count:.0f}" for count in made)
    if made and own.exported_after not in (None, own.updates):
        updates += f" (best at {own.exported_after:.0f})"
    tokens = "" if own.tokens is None else f"{own.tokens:,.0f}"
    return [updates, tokens, "" if own.seconds is None else f"{own.seconds:.0f}"]


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interval(low: float, high: float) -> str:
    return f"[{low:+.3f}, {high:+.3f}]"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
