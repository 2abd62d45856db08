"""Tables of an evaluation: each once, for report.md and for the screen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table as RichTable

from callbacks.reports.markdown import escaped, table_row
from lit_distill.tools.evaluating.reporting.cost import Cost
from lit_distill.tools.evaluating.scoring.resampling import Sampled
from lit_distill.tools.evaluating.scoring.retention import Level
from lit_distill.tools.evaluating.scoring.score import Scored

NOTHING = "-"
_NO_MARKUP = re.compile(r"(?:[^\W_]|[\s.,;:±%()\[\]+-](?<!\]\())*")  # numbers stay readable


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: what it shows.
        heading: of its columns.
        rows: the first cell of each names it.
        printed: whether the screen shows it.
    """

    title: str
    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    printed: bool = False

    @property
    def markdown(self) -> str:
        """With its title as a heading."""
        lines = [f"## {escaped(self.title)}", "", table_row(map(_cell, self.heading))]
        lines.append("|---" + "|---:" * (len(self.heading) - 1) + "|")
        lines += [table_row(map(_cell, row)) for row in self.rows]
        return "\n".join(lines) + "\n"

    @property
    def rich(self) -> RichTable:
        """For a console."""
        table = RichTable(title=self.title, title_justify="left")
        for place, name in enumerate(self.heading):
            table.add_column(name, justify="right" if place else "left")
        for row in self.rows:
            table.add_row(*row)
        return table


def tables(
    scored: Scored,
    costs: Mapping[str, Cost],
    probes: Mapping[str, Mapping[str, Mapping[str, float | None]]],
) -> list[Table]:
    """All tables that have rows, the most telling first."""
    found = [
        _overview(scored, costs),
        _scores(scored),
        _retention(scored),
        _languages(scored),
        *_loyalties(scored),
        _costs(costs),
        _timings(costs),
        *(_probe(name, own) for name, own in probes.items()),
        _left_out(scored),
        _broken(scored),
    ]
    return [table for table in found if table.rows]


def _cell(text: str) -> str:
    return text if _NO_MARKUP.fullmatch(text) else escaped(text)


def page(found: Sequence[Table], scored: Scored, figures: Sequence[str]) -> str:
    """The text of report.md.

    Args:
        found: tables.
        scored: of which they are.
        figures: files beside it.
    """
    roles = scored.roles
    against = f", control: {escaped(roles.control)}" if roles.control else ""
    intro = (
        f"Teacher: {escaped(roles.reference)}{against}. In brackets 95 % intervals over examples "
        "(paired bootstrap); after ± the standard deviation over seeds. Kept is student / teacher; "
        "retention is the same above chance, where the teacher beats majority and a bag of words "
        "beyond the interval; means count every language, and every task, the same.\n"
    )
    images = [f"![{name.removesuffix('.png')}]({name})\n" for name in figures]
    parts = ["# Evaluation\n", intro, *images, *(table.markdown for table in found)]
    return "\n".join(parts)


def number(own: Sampled | None, scale: float = 1.0, digits: int = 3) -> str:
    """A number with its interval and its spread over seeds."""
    if own is None or not own.defined:
        return NOTHING
    estimate = own.estimate
    text = f"{scale * own.value:.{digits}f}"
    if estimate.low is not None and estimate.high is not None:
        text += f" [{scale * estimate.low:.{digits}f}, {scale * estimate.high:.{digits}f}]"
    if estimate.spread is not None:
        text += f" ±{scale * estimate.spread:.{digits}f}"
    return text


def _percent(own: Sampled | None) -> str:
    return number(own, scale=100, digits=1)


def _overview(scored: Scored, costs: Mapping[str, Cost]) -> Table:
    """A row per model, over all tasks; losses, which are in no mean, have columns of their own."""
    mean, roles = scored.mean or Level(scored.roles, {}), scored.roles
    losses = {task: own.leading[1] for task, own in scored.tasks.items() if own.of_loss}
    heading = ["", "mean score", "kept, %", "retention, %", "over control"]
    heading += [f"{task}, loss" for task in losses]
    priced = any(name in mean.scores for name in costs)
    heading += ["M parameters", "ms per text"] if priced else []
    rows = []
    for name, own in mean.scores.items():
        role = {roles.reference: "teacher", roles.control: "control"}.get(name, name)
        rows.append(
            [
                name if role == name else f"{name} ({role})",
                number(own),
                _percent(mean.kept.get(name)),
                _percent(mean.retention.get(name)),
                number(mean.over_control.get(name)),
                *(number(level.scores.get(name)) for level in losses.values()),
                *(_price(costs.get(name)) if priced else []),
            ]
        )
    return Table("All tasks", heading, rows, printed=True)


def _price(cost: Cost | None) -> list[str]:
    if cost is None:
        return [NOTHING, NOTHING]
    alone = [timing for timing in cost.timings if timing.batch == 1]
    longest = max(alone, key=lambda timing: timing.length, default=None)
    return [f"{cost.parameters / 1e6:.1f}", f"{longest.median:.1f}" if longest else NOTHING]


def _scores(scored: Scored) -> Table:
    """A row per task and metric, a column per model."""
    models = list(dict.fromkeys(name for _, _, level in _levels(scored) for name in level.scores))
    rows = [
        [f"{task}, {metric}", *(number(level.scores.get(name)) for name in models)]
        for task, metric, level in _levels(scored)
    ]
    return Table("Scores, means over languages", ["", *models], rows, printed=True)


def _retention(scored: Scored) -> Table:
    """A row per task and student, of the leading metric."""
    rows = []
    for name, task in scored.tasks.items():
        metric, level = task.leading
        for model in scored.roles.students(level.scores):
            worst, gap = level.worst(model), level.gap(model)
            least = level.parts[worst].retention[model] if worst else None
            rows.append(
                [
                    f"{name}, {metric}: {model}",
                    _percent(level.kept.get(model)),
                    _percent(level.retention.get(model)) if not level.why else level.why,
                    f"{worst} {_percent(least)}" if worst else NOTHING,
                    NOTHING if gap is None else f"{100 * gap:.1f}",
                    number(level.over_control.get(model)),
                ]
            )
    heading = ["", "kept, %", "retention, %", "worst language, %", "gap", "over control"]
    return Table("Retention by task", heading, rows, printed=True)


def _languages(scored: Scored) -> Table:
    """A row per task and language, of the leading metric."""
    reference = scored.roles.reference
    everything = [level for _, _, level in _levels(scored)]
    students = list(
        dict.fromkeys(name for own in everything for name in scored.roles.students(own.scores))
    )
    rows = []
    for name, task in scored.tasks.items():
        for language, level in task.leading[1].parts.items():
            values = (_percent(level.retention.get(student)) for student in students)
            shown = [level.why, *[NOTHING] * (len(students) - 1)] if level.why else list(values)
            examples, teacher = str(level.examples), number(level.scores[reference])
            chance = number(level.chance)
            rows.append([f"{name}: {language}", examples, chance, teacher, *shown])
    heading = ["", "examples", "chance", reference, *(f"{name}, %" for name in students)]
    return Table("Retention by language", heading, rows)


def _levels(scored: Scored) -> Iterator[tuple[str, str, Level]]:
    for name, task in scored.tasks.items():
        for metric, level in task.metrics.items():
            yield name, metric, level


def _loyalties(scored: Scored) -> Iterator[Table]:
    """Tables of tasks with the same numbers; means over languages and seeds."""
    rows: dict[tuple[str, ...], list[list[str]]] = {}
    for name, task in scored.tasks.items():
        for student, languages in task.loyalty.items():
            numbers = languages["mean"]
            if numbers:
                line = [f"{name}: {student}", *map(_plain, numbers.values())]
                rows.setdefault(tuple(numbers), []).append(line)
    for names, own in rows.items():
        yield Table(
            "Loyalty to the teacher", ["", *(name.replace("_", " ") for name in names)], own
        )


def _costs(costs: Mapping[str, Cost]) -> Table:
    heading = ["", "M parameters", "without embeddings", "disk, MB", "peak memory, MB"]
    heading += ["peak of the GPU, MB", "MFLOP per token"]
    rows = [
        [
            name,
            *(f"{n / 1e6:.2f}" for n in (cost.parameters, cost.without_embeddings)),
            *(_megabytes(n) for n in (cost.disk, cost.peak_memory, cost.peak_gpu_memory)),
            f"{cost.flops_per_token / 1e6:.2f}",
        ]
        for name, cost in costs.items()
    ]
    return Table("Cost", heading, rows)


def _megabytes(count: int | None) -> str:
    return NOTHING if count is None else f"{count / 1e6:.1f}"


def _timings(costs: Mapping[str, Cost]) -> Table:
    """A row per batch and length: median and quartiles of a forward, tokens per second."""
    places = dict.fromkeys((t.batch, t.length) for cost in costs.values() for t in cost.timings)
    rows = []
    for batch, length in sorted(places):
        cells = []
        for cost in costs.values():
            own = cost.timing(batch, length)
            spread = own and f"{own.median:.2f} [{own.low:.2f}, {own.high:.2f}]"
            cells.append(f"{spread}; {own.tokens_per_second:,.0f}" if own else NOTHING)
        rows.append([f"{batch} of {length}", *cells])
    title = "Latency of the body, ms: median and quartiles; tokens per second"
    return Table(title, ["texts of tokens", *costs], rows)


def _probe(name: str, found: Mapping[str, Mapping[str, float | None]]) -> Table:
    rows = dict.fromkeys(key for numbers in found.values() for key in numbers)
    cells = [[key, *(_plain(own.get(key)) for own in found.values())] for key in rows]
    return Table(f"Probe: {name}", ["", *found], cells)


def _plain(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4g}"


def _left_out(scored: Scored) -> Table:
    """Told on the screen too: where all of a task are left out, its other tables are empty."""
    rows = [
        [task, language, str(count)]
        for task, own in scored.tasks.items()
        for language, count in own.left_out.items()
        if count
    ]
    title = "Left out: examples that not all models were asked"
    return Table(title, ["task", "language", "examples"], rows, printed=True)


def _broken(scored: Scored) -> Table:
    rows = [[f"{own.task}: {own.model}", str(own.seed), own.error] for own in scored.broken]
    return Table("Broken cells", ["", "seed", "what happened"], rows, printed=True)
