"""The sections about what several models were asked: `evaluate` and `compare` wrote the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_distill.tools.evaluating.scoring.metrics import METRICS
from lit_distill.tools.reporting.drawing import bars, dots
from lit_distill.tools.reporting.parts import (
    Block,
    Chart,
    Charts,
    Section,
    Table,
    Text,
    finite,
    number,
)
from lit_distill.tools.reporting.plain_files import inside, json_of, named
from lit_distill.tools.reporting.run_sections import millions

RESULTS, COMPARED = "results.json", "compare.json"


@dataclass(frozen=True)
class Measured:
    """A folder of `evaluate` or of `compare`.

    Attributes:
        name: by which the report calls it.
        folder: of it.
        content: of its file.
        problems: sentences about what could not be read.
    """

    name: str
    folder: Path
    content: Mapping[str, Any]
    problems: list[str]

    @property
    def is_evaluation(self) -> bool:
        """Whether `evaluate` wrote it."""
        return (self.folder / RESULTS).is_file()

    @property
    def reference(self) -> str:
        """Name of the teacher."""
        return named(self.content, "reference")


def is_measured(folder: Path) -> bool:
    """Whether `evaluate` or `compare` left a folder."""
    return any((folder / name).is_file() for name in (RESULTS, COMPARED))


def measured_of(folder: Path, name: str) -> Measured:
    """Reads what is there."""
    problems = list[str]()
    file = RESULTS if (folder / RESULTS).is_file() else COMPARED
    content = json_of(folder / file, problems)
    if file == COMPARED and isinstance(content.get("format"), int):  # methods under seeds
        content = inside(content, "methods")
    return Measured(name, folder, content, problems)


def sections_of(own: Measured, sizes: Mapping[str, float]) -> list[Section]:
    """What was measured, and what it costs.

    Args:
        own: the numbers.
        sizes: parameters by folder of a model, where `evaluate` measured no costs.
    """
    if not own.is_evaluation:
        return [_compared(own), _compared_cost(own)]
    return [_retention(own), *_tasks(own), _cost(own, sizes)]


# -- evaluate ---------------------------------------------------------------------------------


def _retention(own: Measured) -> Section:
    """Means over tasks: what is kept of the teacher's."""
    overall = inside(own.content, "mean")
    if not overall:
        return Section(f"Retention: {own.name}", [Text("No task was measured.")])
    rows = []
    for model in inside(overall, "scores"):
        cells = [interval(inside(overall, part).get(model), 1) for part in ("scores",)]
        cells += [interval(inside(overall, part).get(model), 100) for part in ("kept", "retention")]
        rows.append([model, *cells, interval(inside(overall, "over_control").get(model), 1)])
    control = named(own.content, "control")
    heading = ["", "mean score", f"kept of {own.reference}, %", "retention, %"]
    blocks: list[Block] = [
        Table("All tasks", [*heading, f"over {control}" if control else "over control"], rows),
        Text(
            "In brackets 95 % intervals over examples, behind ± the deviation over seeds. Kept is "
            "the share of the teacher's score, retention the share of what it has above chance."
        ),
    ]
    if why := named(overall, "not_measurable"):
        blocks.append(Text(f"Retention is not measurable: {why}."))
    return Section(f"Retention: {own.name}", blocks)


def _tasks(own: Measured) -> Iterator[Section]:
    """A section per task, of its leading metric."""
    for task, about in inside(own.content, "tasks").items():
        metric = named(about, "metric")
        level = inside(about, "metrics", metric)
        parts = inside(level, "languages")
        scores = {
            model: _by_language(parts, "scores", model, 1) for model in inside(level, "scores")
        }
        retained = {
            model: _by_language(parts, "retention", model, 100)
            for model in inside(level, "retention")
        }
        falls = smaller_is_better(metric)
        charts = [
            bars(f"{title}, {task}", {m: v for m, v in values.items() if v}, down, [*scores])
            for title, values, down in (
                (metric, scores, falls),
                ("retention above chance, %", retained, False),
            )
            if any(values.values())
        ]
        blocks: list[Block] = [Charts(charts)] if charts else []
        blocks.append(_of_languages(metric, level, parts))
        blocks += _unmeasured(parts)
        blocks += _loyalty(about)
        yield Section(f"{own.name}: {task}", blocks)


def _unmeasured(parts: Mapping[str, Any]) -> list[Block]:
    """Why languages have no retention."""
    reasons: dict[str, list[str]] = {}
    for name, part in parts.items():
        if why := named(part, "not_measurable"):
            reasons.setdefault(why, []).append(name)
    said = [f"{', '.join(names)}: {why}." for why, names in reasons.items()]
    return [Text(f"Retention is not measurable in {one}") for one in said]


def _by_language(
    parts: Mapping[str, Any], what: str, model: str, factor: float
) -> dict[str, float]:
    found = {name: finite(inside(part, what, model).get("value")) for name, part in parts.items()}
    return {name: factor * value for name, value in found.items() if value is not None}


def _of_languages(metric: str, level: Mapping[str, Any], parts: Mapping[str, Any]) -> Table:
    models, students = inside(level, "scores"), inside(level, "retention")
    rows = []
    for name, part in {**parts, "mean": level}.items():
        cells = [interval(inside(part, "scores").get(model), 1) for model in models]
        kept = [interval(inside(part, "retention").get(model), 100) for model in students]
        examples = number(inside(part).get("examples")) if name in parts else ""
        rows.append([name, examples, *cells, *kept])
    heading = ["", "examples", *models, *(f"retention of {name}, %" for name in students)]
    return Table(f"{metric}, by language", heading, rows)


def _loyalty(about: Any) -> list[Block]:
    own = {name: inside(numbers, "mean") for name, numbers in inside(about, "loyalty").items()}
    names = list(dict.fromkeys(name for numbers in own.values() for name in numbers))
    if not names:
        return []
    rows = [[model, *(number(numbers.get(n)) for n in names)] for model, numbers in own.items()]
    heading = ["", *(name.replace("_", " ") for name in names)]
    return [Table("Agreement with the teacher: loyalty, calibration, errors", heading, rows)]


def _cost(own: Measured, sizes: Mapping[str, float]) -> Section:
    """Parameters, memory and time beside the mean score."""
    costs = {name: inside(cost) for name, cost in inside(own.content, "cost").items()}
    title = f"Cost against quality: {own.name}"
    if not costs:
        models = inside(own.content, "models")
        known = {n: sizes[str(path)] for n, path in models.items() if str(path) in sizes}
        if not known:
            return Section(title, [Text("No costs were measured (`cost` of `evaluate`).")])
        costs = {name: {"parameters": count} for name, count in known.items()}
    scores = inside(own.content, "mean", "scores")
    rows, places, spans = [], {}, {}
    timed = {name: _alone(cost) for name, cost in costs.items()}
    across = all(value is not None for value in timed.values())
    for name, cost in costs.items():
        score = inside(scores, name)
        rows.append([name, interval(score, 1), *_cost_cells(cost), number(timed[name])])
        price, value = timed[name] if across else finite(cost.get("parameters")), score.get("value")
        worth = finite(value)
        if price is not None and worth is not None:
            places[name] = (price if across else price / 1e6, worth)
            low, high = finite(score.get("low")), finite(score.get("high"))
            if low is not None and high is not None:
                spans[name] = (low, high)
    heading = ["", "mean score", "parameters", "disk, MB", "peak memory, MB", "MFLOP per token"]
    table = Table("Cost", [*heading, "ms per text, batch 1"], rows)
    unit = "ms per text, batch 1" if across else "million parameters"
    drawn = [dots(f"mean score over cost, {own.name}", places, unit, "mean score", spans)]
    return Section(title, [Charts(drawn), table] if places else [table])


def _cost_cells(cost: Mapping[str, Any]) -> list[str]:
    sizes = [finite(cost.get(name)) for name in ("disk", "peak_memory", "flops_per_token")]
    shown = ["" if size is None else f"{size / 1e6:,.1f}" for size in sizes]
    return [millions(finite(cost.get("parameters"))), *shown]


def _alone(cost: Mapping[str, Any]) -> float | None:
    """Milliseconds of a single text of the longest length."""
    timings = cost.get("timings")
    alone = [inside(one) for one in (timings if isinstance(timings, list) else ())]
    alone = [one for one in alone if one.get("batch") == 1]
    longest = max(alone, key=lambda one: finite(one.get("length")) or 0.0, default={})
    return finite(longest.get("median"))


def smaller_is_better(metric: str) -> bool:
    """Whether a metric of `evaluate` is a loss or an error; not, of one that is unknown."""
    known = METRICS.get(metric)
    return known is not None and known.smaller_is_better


def interval(estimate: Any, factor: float) -> str:
    """An estimate with its interval and its deviation over seeds, as tables show it."""
    known = inside(estimate)
    value = finite(known.get("value"))
    if value is None:
        return ""
    digits = 1 if factor == 100 else 3
    low, high, spread = (finite(known.get(name)) for name in ("low", "high", "spread"))
    text = f"{factor * value:.{digits}f}"
    if low is not None and high is not None:
        text += f" [{factor * low:.{digits}f}, {factor * high:.{digits}f}]"
    return text if spread is None else f"{text} ± {factor * spread:.{digits}f}"


# -- compare ----------------------------------------------------------------------------------


def _compared(own: Measured) -> Section:
    """Loss and agreement of models on the same held-out text, by language."""
    losses = {
        model: {
            name: value
            for name, scores in inside(about, "scores").items()
            if (value := finite(inside(scores).get("loss"))) is not None
        }
        for model, about in own.content.items()
    }
    losses = {model: values for model, values in losses.items() if values}
    if not losses:
        return Section(f"Side by side: {own.name}", [Text("It holds no scores.")])
    names = list(dict.fromkeys(name for values in losses.values() for name in values))
    rows = []
    for model, about in own.content.items():
        means = [_mean(about, metric) for metric in ("loss", "accuracy", "agreement", "kl")]
        gap = interval(inside(about, "less_control"), 1)
        rows.append([model, *map(number, means), gap])
    heading = ["", "loss", "accuracy", "agreement", "KL", "loss less the control's"]
    by = [[name, *(number(values.get(name)) for values in losses.values())] for name in names]
    return Section(
        f"Side by side: {own.name}",
        [
            Charts([bars(f"held-out loss, nats: {own.name}", losses, True)]),
            Table("Means over languages", heading, rows),
            Table("Loss by language, nats", ["", *losses], by),
        ],
    )


def _mean(about: Any, metric: str) -> float | None:
    values = [finite(inside(scores).get(metric)) for scores in inside(about, "scores").values()]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _compared_cost(own: Measured) -> Section:
    rows, places = [], {}
    for model, about in own.content.items():
        speed, loss = finite(inside(about).get("sentences_per_second")), _mean(about, "loss")
        size = finite(inside(about).get("disk"))
        disk = "" if size is None else f"{size / 1e6:,.1f}"
        parameters = millions(finite(inside(about).get("parameters")))
        rows.append([model, parameters, disk, number(speed), number(loss)])
        if speed is not None and loss is not None:
            places[model] = (speed, loss)
    heading = ["", "parameters", "disk, MB", "sentences per second", "loss"]
    table = Table("Size and speed, on the machine that measured", heading, rows)
    charts = list[Chart]()
    if places:
        what = "sentences per second"
        charts.append(dots(f"loss over speed, {own.name}", places, what, "held-out loss, nats"))
    return Section(f"Cost against quality: {own.name}", [Charts(charts), table])
