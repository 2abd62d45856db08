"""Which pipeline a data set is likely to want, by tables of `compare`, and how sure that is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from lit_distill.errors import UserError
from lit_distill.files import strict_json
from lit_distill.files.output_folders import check_output, write_files
from lit_distill.knobs import NotNegative, check_knobs
from lit_distill.tools.comparing.grid_tables import GridTable
from lit_distill.tools.recommending.regression import Kind, Predicts, fitted
from lit_distill.tools.recommending.trials import (
    ComparedTable,
    Target,
    Trial,
    Value,
    read_tables,
    trials_of,
)
from lit_distill.tools.recommending.verdict import Verdict, judged

KIND = "recommendation"
WORDS = {"gain": "loss below the control's, nats", "kept": "teacher's loss / own loss"}


@dataclass(frozen=True)
class Recommended:
    """A candidate with what it is predicted to achieve.

    Attributes:
        name: of the pipeline; where tables mean several by it, with what tells them apart.
        predicted: the target.
        error: mean absolute error on data sets that were left out.
        tables: in how many it was tried.
        mean: of the target there.
        pipeline: its settings.
    """

    name: str
    predicted: float
    error: float
    tables: int
    mean: float
    pipeline: Mapping[str, Value]


def recommend(
    tables: list[str],
    data: dict[str, NotNegative] | None = None,
    like: str | None = None,
    target: Target | None = None,
    model: Kind = "ridge",
    output: str | None = None,
) -> list[Recommended]:
    """Ranks the pipelines of tables for a data set by a regression, or says that it cannot.

    Args:
        tables: folders of `compare` with seeds, each of another data set.
        data: features of the data set, as `--data.languages 5`; those that are the same in all
            tables need not be given.
        like: a folder of `compare` whose data set is meant; `data` replaces features of it.
        target: what is predicted: "gain", how far the loss is below the control's, or "kept", the
            teacher's loss as a share of the student's; by default the gain if there are controls.
        model: "ridge" regression, or "boosting" of regression trees.
        output: a folder; recommendation.json and recommendation.md are written there. An earlier
            recommendation there is replaced, and nothing else.

    Returns:
        Candidates, the best first.

    Raises:
        UserError: the tables are too few, or cannot tell pipelines apart on data sets that were
            left out; with the numbers. Or the data set is not described.
    """
    check_knobs(recommend, locals())
    if output is not None:
        check_output(Path(output), kind=KIND)
    _check_installed()
    read = read_tables(tables)
    rows, chosen = trials_of(read, target)
    verdict = judged(rows, model)
    if verdict.why_not:
        raise UserError(_refusal(rows, verdict, model))
    asked = _asked(read, data or {}, like)
    found = _ranked(rows, asked, fitted(rows, model), verdict)
    remarks = [*verdict.sentences, *_beyond(read, asked)]
    table = _table(found, chosen)
    console = Console()
    console.print(table.rich)
    console.print(*remarks, sep="\n", markup=False, highlight=False)
    if output is not None:
        about: dict[str, Any] = {"target": chosen, "model": model, "data": asked}
        about |= {"tables": [one.name for one in read], "errors": asdict(verdict)}
        about["pipelines"] = [asdict(one) for one in found]
        _save(Path(output), about, "\n\n".join([table.markdown, *remarks]))
    return found


def _save(folder: Path, about: Mapping[str, Any], page: str) -> None:
    numbers = strict_json.dumps(about, indent=1)
    write_files(folder, {"recommendation.json": numbers, "recommendation.md": f"{page}\n"}, KIND)


def _check_installed() -> None:
    if find_spec("sklearn") is None:
        raise UserError(
            "recommend needs scikit-learn, which is not installed: pip install "
            "'lit-distill[evaluate]'."
        )


def _refusal(rows: Sequence[Trial], verdict: Verdict, model: Kind) -> str:
    """Why nothing is recommended, with the numbers, and what the tables do say."""
    best = max(dict.fromkeys(row.name for row in rows), key=lambda name: _mean(rows, name))
    average = verdict.average
    better = average.absolute < min(verdict.spread, verdict.mean.absolute)
    known = f"{best} is the best on average"
    known += ", and averages do tell pipelines apart" if better else ", which may be chance"
    said = "\n".join(f"  {line}" for line in verdict.sentences)
    return (
        f"Nothing is recommended, as the tables cannot tell ({model}): "
        f"{'; '.join(verdict.why_not)}.\n{said}\n{known}. Compare on more data sets."
    )


def _asked(
    tables: Sequence[ComparedTable], data: Mapping[str, float], like: str | None
) -> dict[str, float]:
    """The features of the data set that is asked about."""
    known = list(dict.fromkeys(name for table in tables for name in table.data))
    if unknown := [name for name in data if name not in known]:
        raise UserError(
            f"--data.{unknown[0]}: the tables have no such feature; there is {', '.join(known)}."
        )
    found = {**(read_tables([like])[0].data if like is not None else {}), **data}
    missing = []
    for name in known:
        values = {table.data[name] for table in tables if name in table.data}
        if name not in found and len(values) == 1:
            found[name] = values.pop()
        elif name not in found:
            missing.append(f"--data.{name} ({min(values):g} to {max(values):g} in the tables)")
    if missing:
        raise UserError(
            f"For which data set? Give a comparison on it, --like FOLDER, or {', '.join(missing)}."
        )
    return {name: found[name] for name in known}


def _ranked(
    rows: Sequence[Trial], asked: Mapping[str, float], predicts: Predicts, verdict: Verdict
) -> list[Recommended]:
    different: dict[tuple[str, str], list[Trial]] = {}
    for row in rows:
        settings = json.dumps(row.pipeline, sort_keys=True)
        different.setdefault((row.name, settings), []).append(row)
    names = [name for name, _ in different]
    found = []
    for (name, _), own in different.items():
        candidate = Trial("", name, asked, own[0].pipeline, 0.0)
        same = [row.pipeline for row in rows if row.name == name]
        title = name if names.count(name) == 1 else f"{name} ({_apart(own[0].pipeline, same)})"
        mean = sum(row.achieved for row in own) / len(own)
        predicted = float(predicts([candidate])[0])
        found.append(
            Recommended(title, predicted, verdict.model.absolute, len(own), mean, own[0].pipeline)
        )
    return sorted(found, key=lambda one: -one.predicted)


def _apart(own: Mapping[str, Value], same: Sequence[Mapping[str, Value]]) -> str:
    """The settings by which pipelines of one name differ."""
    names = dict.fromkeys(name for one in same for name in one)
    differing = [name for name in names if len({one.get(name) for one in same}) > 1]
    return ", ".join(f"{name.rpartition('.')[2]} {_shown(own.get(name))}" for name in differing)


def _shown(value: Value | None) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:g}"


def _beyond(tables: Sequence[ComparedTable], asked: Mapping[str, float]) -> list[str]:
    """What is said of a data set that is unlike those of the tables."""
    found = []
    for name, value in asked.items():
        values = [table.data[name] for table in tables if name in table.data]
        if not min(values) <= value <= max(values):
            found.append(f"{name} {value:g} ({min(values):g} to {max(values):g})")
    if not found:
        return []
    return [
        f"Outside of what the tables hold, so the error above is too small: {', '.join(found)}."
    ]


def _table(found: Sequence[Recommended], target: Target) -> GridTable:
    heading = ["pipeline", "predicted", "± error left out", "tables", "mean there"]
    lines = [
        [one.name, f"{one.predicted:.4g}", f"{one.error:.4g}", str(one.tables), f"{one.mean:.4g}"]
        for one in found
    ]
    return GridTable(f"Pipelines by predicted {target}: {WORDS[target]}", heading, lines)


def _mean(rows: Sequence[Trial], name: str) -> float:
    own = [row.achieved for row in rows if row.name == name]
    return sum(own) / len(own)
