"""What several runs wrote behind the same prompts, side by side with paired intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from lit_distill.errors import UserError
from lit_distill.files import strict_json
from lit_distill.files.output_folders import check_output, write_files

KIND = "comparison of texts"
METRICS = ("exact_match", "chrf")
MEAN = "mean"
DRAWS = 2000
REMEDY = "make it anew with `validate` or `test`."

Scores = dict[str, NDArray[np.float64]]
"""One metric of one method by language: (S, P), S runs and P prompts."""


@dataclass(frozen=True)
class Compared:
    """One metric of one method in one language, or its mean over languages.

    Attributes:
        value: mean over runs and prompts.
        lowest: of the single runs.
        highest: of the single runs.
        difference: from the baseline; None of the baseline itself.
        interval: of the difference, 95 %, over the choice of prompts (paired bootstrap).
    """

    value: float
    lowest: float
    highest: float
    difference: float | None = None
    interval: tuple[float, float] | None = None


def compare_texts(
    runs: dict[str, list[str]],
    baseline: str | None = None,
    student: str = "student",
    stage: str = "val",
    output: str | None = None,
) -> dict[str, dict[str, dict[str, Compared]]]:
    """Compares what students wrote: exact match and chrF, by language, against a baseline.

    The texts are those that the callback `GenerationMetrics` saved last in each run; those to
    prompts without a reference are left out and counted. chrF is the mean of the sentences'.
    Intervals are over prompts; how far seeds are apart is shown beside.

    Args:
        runs: run folders by method, one for each seed: `--runs.gkd='[runs/a, runs/b]'`.
        baseline: the method that others are compared with; by default the first.
        student: whose texts.
        stage: "val" or "test".
        output: a folder; compare.json and compare.md are written there. An earlier comparison there
            is replaced, and nothing else.

    Returns:
        By metric, method and language; `mean` is that over languages.

    Raises:
        UserError: a run has no texts that can be read, or they answer other prompts; or the output
            would replace what is no comparison.
    """
    if output is not None:
        check_output(Path(output), kind=KIND)
    if not runs or not all(runs.values()):
        raise UserError("No runs to compare: give --runs.NAME='[FOLDER, ...]', once or more.")
    baseline = baseline or next(iter(runs))
    if baseline not in runs:
        raise UserError(f"The baseline {baseline!r} is none of the methods {', '.join(runs)}.")
    folders = {name: [_read(Path(f), stage, student) for f in own] for name, own in runs.items()}
    prompts = _common_prompts(runs, folders)
    result = {}
    for metric in METRICS:
        scores = {name: _scores(every, prompts, metric) for name, every in folders.items()}
        result[metric] = {
            name: _compared(own, None if name == baseline else scores[baseline])
            for name, own in scores.items()
        }
    Console().print(*(_table(metric, own, baseline) for metric, own in result.items()), sep="\n")
    if output is not None:
        _save(Path(output), result)
    return result


Texts = dict[tuple[str, int], dict[str, float]]
"""Scores of one run's texts, by language and number of the prompt."""


def _read(folder: Path, stage: str, student: str) -> Texts:
    """Scores of the texts that have references; what was written without one is left out.

    Raises:
        UserError: there are none, or the file is none of `GenerationMetrics`.
    """
    # A fit's are numbered by updates; `validate` and `test` write one, after it.
    own = folder / "generations"
    files = [*sorted(own.glob(f"{stage}-*.jsonl")), *own.glob(f"{stage}.jsonl")]
    if not files:
        raise UserError(
            f"{folder} has no generations/{stage}*.jsonl: run it with the callback "
            "GenerationMetrics (configs/trainer/generation.yaml) on a corpus of prompts."
        )
    path = files[-1]
    rows = _rows(path)
    if not rows or any(student not in row["students"] for row in rows):
        names = ", ".join(sorted({repr(name) for row in rows for name in row["students"]}))
        raise UserError(
            f"{path} has no texts of {student!r}, or not to every prompt; it has those of "
            f"{names or 'nobody'}: choose one with --student."
        )
    found = {
        (row["language"], row["sample_id"]): row["students"][student]["scores"] for row in rows
    }
    if len(found) < len(rows):
        raise UserError(f"{path} has a prompt twice, as where two files were joined: {REMEDY}")
    known = {place: one for place, one in found.items() if all(name in one for name in METRICS)}
    if not known:
        raise UserError(f"No prompt of {path} has a reference to compare with.")
    if len(known) < len(found):
        print(f"{folder}: {len(found) - len(known)} of {len(found)} prompts have no reference.")
    return known


def _rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of written texts."""
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"Line {number} of {path} is no JSON ({error}): {REMEDY}") from error
        if not _is_written(row):
            raise UserError(
                f"Line {number} of {path} is no text of GenerationMetrics, which has language, "
                f"sample_id, students and their finite scores: {REMEDY}"
            )
        rows.append(row)
    return rows


def _is_written(row: Any) -> bool:
    """Whether a line has what is read of it."""
    match row:
        case {"language": str(), "sample_id": int(), "students": dict(students)}:
            own = [each.get("scores") for each in students.values() if isinstance(each, dict)]
            values = [value for each in own if isinstance(each, dict) for value in each.values()]
            numbers = all(isinstance(each, int | float) and math.isfinite(each) for each in values)
            return numbers and len(students) == sum(isinstance(each, dict) for each in own)
    return False


def _common_prompts(
    runs: Mapping[str, Sequence[str]], folders: Mapping[str, Sequence[Texts]]
) -> dict[str, list[int]]:
    """Numbers of the prompts by language, the same in every run."""
    names = [folder for own in runs.values() for folder in own]
    first, *others = [texts for own in folders.values() for texts in own]
    for name, texts in zip(names[1:], others, strict=True):
        if texts.keys() != first.keys():
            raise UserError(
                f"{name} answered other prompts than {names[0]}: compare runs with the same data, "
                "max_prompts and seed, and the same references."
            )
    prompts: dict[str, list[int]] = {}
    for language, number in sorted(first):
        prompts.setdefault(language, []).append(number)
    return prompts


def _scores(every: Sequence[Texts], prompts: Mapping[str, list[int]], metric: str) -> Scores:
    return {
        language: np.array([[texts[language, p][metric] for p in own] for texts in every])
        for language, own in prompts.items()
    }


def _compared(own: Scores, baseline: Scores | None) -> dict[str, Compared]:
    generator = np.random.default_rng(0)
    values: dict[str, Compared] = {}
    drawn = []
    for language, scores in own.items():
        single = scores.mean(1)
        plain = Compared(float(scores.mean()), float(single.min()), float(single.max()))
        if baseline is not None:
            gaps = scores.mean(0) - baseline[language].mean(0)
            places = generator.integers(len(gaps), size=(DRAWS, len(gaps)))
            drawn.append(gaps[places].mean(1))
            plain = _with_interval(plain, float(gaps.mean()), drawn[-1])
        values[language] = plain
    runs = np.mean([scores.mean(1) for scores in own.values()], axis=0)
    mean = Compared(float(runs.mean()), float(runs.min()), float(runs.max()))
    if baseline is not None:
        gap = fmean(each.difference or 0.0 for each in values.values())
        mean = _with_interval(mean, gap, np.mean(drawn, axis=0))
    return {MEAN: mean, **values}


def _with_interval(plain: Compared, gap: float, draws: NDArray[np.float64]) -> Compared:
    low, high = (float(each) for each in np.quantile(draws, [0.025, 0.975]))
    return Compared(plain.value, plain.lowest, plain.highest, gap, (low, high))


def _cells(metric: str, one: Compared) -> tuple[str, str]:
    """Value with the range of the runs, and difference with its interval."""
    form = ".3f" if metric == "exact_match" else ".1f"
    value = f"{one.value:{form}} ({one.lowest:{form}} to {one.highest:{form}})"
    if one.difference is None or one.interval is None:
        return value, ""
    low, high = one.interval
    return value, f"{one.difference:+{form}} [{low:+{form}}, {high:+{form}}]"


def _table(metric: str, methods: Mapping[str, Mapping[str, Compared]], baseline: str) -> Table:
    table = Table(title=f"{metric}: mean (single runs)", title_justify="left")
    for heading in ("method", "language", "value", f"less {baseline} [95 %]"):
        table.add_column(heading, no_wrap=True)
    for name, languages in methods.items():
        for language, one in languages.items():
            table.add_row(name, language, *_cells(metric, one))
        table.add_section()
    return table


def _save(folder: Path, result: Mapping[str, Mapping[str, Mapping[str, Compared]]]) -> None:
    plain = {
        metric: {name: {k: asdict(v) for k, v in own.items()} for name, own in methods.items()}
        for metric, methods in result.items()
    }
    lines = []
    for metric, methods in result.items():
        languages = list(next(iter(methods.values())))
        lines.append(f"| {metric} | " + " | ".join(languages) + " |")
        lines.append("|---|" + "---|" * len(languages))
        for name, own in methods.items():
            cells = [" ".join(filter(None, _cells(metric, own[each]))) for each in languages]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    texts = {"compare.json": strict_json.dumps(plain, indent=1), "compare.md": "\n".join(lines)}
    write_files(folder, texts, KIND)
