"""The sections about one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import gmtime, strftime

from lit_distill.measures import MetricSpec
from lit_distill.tools.reporting.drawing import bars, lines
from lit_distill.tools.reporting.parts import (
    Block,
    Chart,
    Charts,
    Facts,
    Section,
    Table,
    Text,
    finite,
    number,
)
from lit_distill.tools.reporting.plain_files import class_name, inside, leaves, named
from lit_distill.tools.reporting.runs import Run
from lit_distill.tools.reporting.samples import table_of

CONFIGURED = {
    "model.optimizer.lr": "learning rate",
    "model.schedule": "schedule",
    "model.schedule.warmup": "warm-up",
    "model.dropout": "dropout",
    "data.max_length": "longest text, tokens",
    "data.batch_tokens": "tokens of a batch",
    "data.sampler": "sampler",
    "data.objective": "objective",
    "trainer.accumulate_grad_batches": "batches of an update",
    "trainer.gradient_clip_val": "gradients clipped at",
    "trainer.precision": "precision",
    "trainer.strategy": "strategy",
    "trainer.devices": "devices",
    "seed_everything": "seed",
}
"""Of a configuration, what the section about the method shows; all of it is folded below."""


def sections_of(run: Run) -> list[Section]:
    """Everything about a run but what several runs share."""
    found = [made(run), curves(run), languages(run), mixing(run), agreement(run), samples(run)]
    return [section for section in found if section.blocks]


def lead_of(run: Run) -> str:
    """What was distilled from what and how, in a sentence."""
    students = " and ".join(_model(inside(run.facts, "students", name)) for name in run.students)
    teachers = [f"{_model(own)}, {own.get('name', name)}" for name, own in run.teachers.items()]
    updates = number(run.report.get("updates"))
    after = f" in {updates} updates" if updates else ""
    if run.is_taught:
        return f"{run.method} distilled {students} from {' and '.join(teachers)}{after}."
    beside = f", compared with {' and '.join(teachers)}" if teachers else ""
    return f"{run.method} trained {students} without a teacher{after}{beside}."


def made(run: Run) -> Section:
    """What was trained from what, and how."""
    pairs = [("method", run.method)]
    for name, teacher in run.teachers.items():
        role = name if run.is_taught else f"{name}, not heard in training"
        pairs.append((role, f"{named(teacher, 'name')}: {_model(teacher)}"))
        if fingerprint := named(teacher, "fingerprint"):
            pairs.append((f"{name}, sha256 of its weights", fingerprint))
    for name in run.students:
        pairs.append((name, _model(inside(run.facts, "students", name))))
        pairs.append((f"parameters of {name}, of the teacher's", _share(run, name)))
    start = inside(run.config, "model", "init_args", "student")
    pairs.append(("start of the student", class_name(start)))
    named_start = named(start, "init_args", "name")
    pairs.append(("begins as", named_start))
    pairs.append(("updates", number(run.report.get("updates"))))
    for name in run.students:
        if updates := number(run.entry(name).get("updates")):
            pairs.append((f"scores below: of {name} after updates", updates))
    pairs.append(("optimizer", class_name(inside(run.config, "model", "init_args", "optimizer"))))
    known = dict(leaves(run.config))
    for path, name in CONFIGURED.items():
        value = known.get(path) or known.get(f"{path}.class_path", "").rpartition(".")[2]
        pairs.append((name, value))
    if run.curves.began is not None and run.curves.ended is not None:
        pairs.append(("first and last entry in the log", _span(run.curves.began, run.curves.ended)))
    notes = run.facts.get("notes")
    blocks: list[Block] = [Facts([(name, value) for name, value in pairs if value])]
    blocks += [Text(str(note)) for note in (notes if isinstance(notes, list) else ())]
    return Section("What was distilled, and how", blocks)


def curves(run: Run) -> Section:
    """How training and validation went."""
    own = run.curves
    charts = [
        lines(tag, {tag: own.points(tag)})
        for tag in own.numbers
        if tag.startswith("train/") and len(own.points(tag)) > 1
    ][:12]
    leading = run.metrics[:1]
    rows = []
    for student in run.students:
        for metric in leading:
            charts += _validations(run, student, metric)
        rows += _way(run, student)
    rates = {tag: own.points(tag) for tag in own.numbers if tag.startswith("lr-")}
    if rates:
        charts.append(lines("learning rate", rates))
    for tag, title in (
        ("time/tokens_per_second", "tokens per second"),
        ("time/step", "seconds per update"),
    ):
        if len(own.points(tag)) > 1:
            charts.append(lines(title, {title: own.points(tag)}))
    rows += [
        _row(tag, own.points(tag))
        for tag in own.numbers
        if tag.startswith(("train/", "lr-", "time/"))
    ]
    if not rows:
        return Section(
            "Curves", [Text("Nothing was logged in this folder, so there are no curves.")]
        )
    heading = ["", "first", "lowest", "highest", "last", "of update"]
    return Section("Curves", [Charts(charts), Table("Ends of the curves", heading, rows)])


def _validations(run: Run, student: str, metric: MetricSpec) -> Iterator[Chart]:
    mean = run.curves.points(run.tag(student, metric.name))
    stage = run.tag(student, "").rstrip("/")
    by = {
        name: run.curves.points(tag)
        for name, tag in run.curves.tags("val", metric.name).items()
        if tag.startswith(f"{stage}/")
    }
    by = {name.removeprefix(f"{student}/"): points for name, points in by.items()}
    whose = "" if len(run.students) == 1 else f" of {student}"
    title = f"{metric.figure or metric.label}{whose}"
    if len(mean) > 1:
        yield lines(f"{title}: mean over languages", {metric.label: mean})
    if by and max(map(len, by.values())) > 1:
        yield lines(f"{title}, by language", by)


def _way(run: Run, student: str) -> list[list[str]]:
    tags = [(run.tag(student, metric.name), metric) for metric in run.metrics]
    return [_row(tag, points) for tag, _ in tags if (points := run.curves.points(tag))]


def _row(tag: str, points: Sequence[tuple[float, float]]) -> list[str]:
    values = [value for _, value in points]
    shown = (values[0], min(values), max(values), values[-1], points[-1][0])
    return [tag, *map(number, shown)]


def languages(run: Run) -> Section:
    """How good each student is, by language."""
    return _by_language(run, "By language", compares=False)


def agreement(run: Run) -> Section:
    """How close each student is to its teacher, by language."""
    if not run.teachers:
        return Section("Agreement with the teacher")
    return _by_language(run, "Agreement with the teacher", compares=True)


def _by_language(run: Run, title: str, compares: bool) -> Section:
    metrics = [metric for metric in run.metrics if metric.compares == compares]
    charts, tables = list[Chart](), list[Block]()
    for metric in metrics:
        values = {
            student: {
                name: own[metric.name]
                for name, own in run.languages(student).items()
                if metric.name in own
            }
            for student in run.students
        }
        values = {student: own for student, own in values.items() if own}
        if values and (metric.figure or metric is metrics[0] or not metric.smaller_is_better):
            name = metric.figure or metric.label
            charts.append(bars(name, values, metric.smaller_is_better))
    for student in run.students:
        rows = {**run.languages(student), "mean": run.mean(student)}
        shown = [metric for metric in metrics if any(metric.name in own for own in rows.values())]
        if shown:
            cells = [
                [name, *(number(own.get(m.name)) for m in shown)] for name, own in rows.items()
            ]
            after = number(run.entry(student).get("updates"))
            heading = f"Held-out text, {student} after {after} updates"
            tables.append(Table(heading, ["", *(metric.label for metric in shown)], cells))
    if not tables:
        return Section(title)
    return Section(title, [Charts(charts), *tables] if charts else tables)


def mixing(run: Run) -> Section:
    """The loss at switch points and by the code-mixing index."""
    at = {name: run.curves.tags("val", f"{name}_loss") for name in ("switch_points", "elsewhere")}
    levels = sorted(
        {tag.rpartition("/")[2] for tag in run.curves.numbers if "/cmi_" in tag},
        key=lambda name: int("".join(filter(str.isdecimal, name))[:9] or 0),
    )
    mixes = list(dict.fromkeys(mix for tags in at.values() for mix in tags))
    if not mixes:
        return Section("Code-mixed text")
    last = {
        name.replace("_", " "): {
            mix: value for mix, tag in tags.items() if (value := run.curves.last(tag)) is not None
        }
        for name, tags in at.items()
    }
    rows = []
    for mix in mixes:
        by = [run.curves.last(f"val/{mix}/{level}") for level in levels]
        rows.append([mix, *(number(own.get(mix)) for own in last.values()), *map(number, by)])
    headings = [f"CMI from {level[4:-5]}" for level in levels]
    chart = bars("loss at switch points and elsewhere, nats", last, True)
    table = Table("Loss of the last validation", ["", *last, *headings], rows)
    note = "CMI is the code-mixing index of the text: 0 is one language, 50 is half and half."
    return Section("Code-mixed text", [Charts([chart]), table, Text(note)])


def samples(run: Run) -> Section:
    """What models put into gaps, or wrote behind prompts, side by side."""
    found = list[Block]()
    for tag, markdown in run.curves.tables.items():
        stage, _, name = tag.partition("/")
        if stage == "val" and name.startswith(("samples", "continuations")):
            what = name.replace("continuations/", "written behind prompts, ")
            what = what.replace("samples", "hidden words (strong), and what models put there")
            title = f"{what[0].upper()}{what[1:]}; after {run.curves.updates[tag]} updates"
            if (table := table_of(title, markdown)) is not None:
                found.append(table)
    return Section("Samples side by side", found)


def _model(facts: object) -> str:
    """A model in a few words."""
    known = inside(facts)
    layers, parameters = number(known.get("layers")), known.get("parameters")
    words = [named(known, "architecture") or "a model"]
    words += [f"of {layers} layers"] * bool(layers)
    words += [f"({millions(parameters)} parameters)"] * bool(number(parameters))
    return " ".join(words)


def _share(run: Run, student: str) -> str:
    """A student's parameters as a share of those of its teacher, if it has one."""
    own = finite(inside(run.facts, "students", student).get("parameters"))
    theirs = [finite(teacher.get("parameters")) for teacher in run.teachers.values()]
    if own is None or len(theirs) != 1 or not theirs[0]:
        return ""
    return f"{own / theirs[0]:.1%}"


def millions(count: object) -> str:
    """A count of parameters; nothing for what is none."""
    known = finite(count)
    return "" if known is None else f"{known / 1e6:,.2f} M"


def _span(began: float, ended: float) -> str:
    try:
        days = [strftime("%Y-%m-%d %H:%M:%S", gmtime(moment)) for moment in (began, ended)]
    except (OverflowError, ValueError, OSError):
        return ""
    return f"{days[0]} to {days[1]} UTC"
