"""The section of a model card about what the model retains of its teacher, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from callbacks.reports.markdown import escaped, table_row
from lit_distill.tools.publishing.evaluation import Found
from lit_distill.tools.reporting.measured import interval, smaller_is_better
from lit_distill.tools.reporting.parts import finite
from lit_distill.tools.reporting.plain_files import inside, named

NOTHING = "-"
WORST = 3
"""Languages of a task that the limits name."""
COST_NOTE = (
    "Of all that a folder holds, and of one forward pass of the body over random tokens; times are "
    "medians on the machine of the evaluation, the models in turns."
)


def section(found: Found) -> str:
    """The section, as Markdown."""
    parts = [
        "## What it retains",
        _asked(found),
        _overview(found),
        "### By language",
        _languages(found),
    ]
    if costs := _costs(found):
        parts += ["### What it costs", COST_NOTE, costs]
    parts += ["### Limits", "\n".join(f"- {line}" for line in _limits(found))]
    return "\n\n".join(parts)


def _asked(found: Found) -> str:
    teacher = f"`{named(found.content, 'models', found.reference)}`"
    control = found.control
    beside = f"; {escaped(control)} was trained without it" if control else ""
    seeds = ", ".join(map(str, found.seeds))
    own = ", each with a model of its own" if found.differs_by_seed else ""
    return (
        f"Asked beside its teacher, {teacher}, by `lit_distill evaluate`{beside}. In brackets 95 % "
        f"intervals over examples (paired bootstrap), behind ± the deviation over seeds ({seeds}"
        f"{own}). Kept is the share of the teacher's score, retention the same above chance: told "
        "only where the teacher beats the commonest answer and a bag of words beyond the interval."
    )


def _overview(found: Found) -> str:
    heading = ["task", "metric", "teacher", "this model", "kept, %", "retention, %"]
    heading += ["worst language, %", "over control"]
    rows = []
    for task, metric, level, languages in found.tasks():
        worst = named(level, "worst", found.model)
        least = _of(inside(languages, worst), "retention", found, 100) if worst else NOTHING
        rows.append(
            [
                escaped(task),
                escaped(metric),
                _score(level, found.reference),
                _score(level, found.model),
                _of(level, "kept", found, 100),
                _retained(level, found),
                f"{escaped(worst)} {least}" if worst else NOTHING,
                _of(level, "over_control", found, 1),
            ]
        )
    overall = inside(found.content, "mean")
    if len(rows) > 1 and found.model in inside(overall, "scores"):
        means = [_score(overall, found.reference), _score(overall, found.model)]
        means += [_of(overall, "kept", found, 100), _retained(overall, found)]
        rows.append(["all tasks", NOTHING, *means, NOTHING, _of(overall, "over_control", found, 1)])
    return _table(heading, rows)


def _languages(found: Found) -> str:
    rows = []
    for task, metric, _, languages in found.tasks():
        for language, level in languages.items():
            rows.append(
                [
                    escaped(task),
                    escaped(language),
                    f"{finite(inside(level).get('examples')) or 0:.0f}",
                    escaped(metric),
                    _score(level, found.reference),
                    _score(level, found.model),
                    _retained(level, found),
                ]
            )
    heading = ["task", "language", "examples", "metric", "teacher", "this model", "retention, %"]
    return _table(heading, rows)


def _score(level: Any, model: str) -> str:
    return interval(inside(level, "scores", model), 1) or NOTHING


def _of(level: Any, what: str, found: Found, factor: float) -> str:
    return interval(inside(level, what, found.model), factor) or NOTHING


def _retained(level: Any, found: Found) -> str:
    why = named(level, "not_measurable")
    return f"not measurable: {escaped(why)}" if why else _of(level, "retention", found, 100)


def _costs(found: Found) -> str:
    """A row for the teacher and the model, and one of what is left; "" where nothing is known."""
    teacher, own = (inside(found.content, "cost", name) for name in (found.reference, found.model))
    if not own:
        return ""
    heading = ["", "parameters, million", "disk, MB", "peak memory, MB", "MFLOP per token"]
    keys = ["parameters", "disk", "peak_memory", "flops_per_token"]
    numbers = [[finite(cost.get(key)) for key in keys] for cost in (teacher, own)]
    places = [*dict.fromkeys([*_timed(own), *_timed(teacher)])]
    for place in places:
        heading.append(f"ms, {place[0]} x {place[1]} tokens")
        for row, cost in zip(numbers, (teacher, own), strict=True):
            row.append(_timed(cost).get(place))
    scales = [1e6] * len(keys) + [1.0] * len(places)
    rows = [
        [name, *(_scaled(value, scale) for value, scale in zip(row, scales, strict=True))]
        for name, row in zip(("teacher", "this model"), numbers, strict=True)
    ]
    shares = [ours / theirs if ours is not None and theirs else None
              for theirs, ours in zip(*numbers, strict=True)]  # fmt: skip
    rows.append(["share", *(NOTHING if one is None else f"{one:.2f}" for one in shares)])
    return _table(heading, rows)


def _scaled(value: float | None, scale: float) -> str:
    return NOTHING if value is None else f"{value / scale:,.1f}"


def _timed(cost: Any) -> dict[tuple[int, int], float]:
    """Medians in milliseconds, by texts at once and tokens of each."""
    timings = cost.get("timings")
    found = {}
    for one in timings if isinstance(timings, list) else ():
        numbers = [finite(inside(one).get(key)) for key in ("batch", "length", "median")]
        batch, length, median = numbers
        if batch is not None and length is not None and median is not None:
            found[int(batch), int(length)] = median
    return found


def _limits(found: Found) -> Iterator[str]:
    for task, metric, level, languages in found.tasks():
        yield from _least(found, task, languages)
        yield from _unmeasured(task, languages)
        gap = inside(level, "over_control", found.model)
        falls = smaller_is_better(metric)
        nearest = finite(gap.get("high" if falls else "low"))
        if nearest is not None and (nearest >= 0 if falls else nearest <= 0):
            yield (
                f"{escaped(task)}: beyond the interval it is not better than "
                f"{escaped(found.control)}, which had no teacher."
            )
    for one in found.broken():
        yield f"Without an answer: {escaped(one)}"
    yield "Nothing was measured of languages and tasks that the tables above do not have."


def _least(found: Found, task: str, languages: dict[str, Any]) -> Iterator[str]:
    """The languages of which least is retained, where there are several."""
    known = {
        name: value
        for name, level in languages.items()
        if not named(level, "not_measurable")
        and (value := finite(inside(level, "retention", found.model).get("value"))) is not None
    }
    if len(known) > 1:
        worst = sorted(known, key=lambda one: known[one])[: min(WORST, len(known) - 1)]
        said = [f"{escaped(one)} ({_of(languages[one], 'retention', found, 100)})" for one in worst]
        yield f"{escaped(task)}: retention, in %, is lowest in {', '.join(said)}."


def _unmeasured(task: str, languages: dict[str, Any]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for name, level in languages.items():
        if why := named(level, "not_measurable"):
            reasons.setdefault(why, []).append(escaped(name))
    for why, names in reasons.items():
        yield f"{escaped(task)}: not measurable in {', '.join(names)}: {escaped(why)}."


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    line = "|---" * len(heading) + "|"
    return "\n".join([table_row(heading), line, *map(table_row, rows)])
