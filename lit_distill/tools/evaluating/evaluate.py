"""What models still can do: tasks, languages and seeds, beside their teacher and their control."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import data_modules as data_modules  # makes bare class names of data modules resolve
from lit_distill.errors import UserError
from lit_distill.files.file_names import check_file_name
from lit_distill.knobs import Count, Seed, check_knobs
from lit_distill.measures.probing import Probe
from lit_distill.tools.evaluating import modes as modes  # likewise, of modes
from lit_distill.tools.evaluating.asking import ask_all
from lit_distill.tools.evaluating.beside import Beside
from lit_distill.tools.evaluating.cells.cell import CellResult
from lit_distill.tools.evaluating.cells.seen import seen_in
from lit_distill.tools.evaluating.plan import BASELINES, Cell, Only, Task, plan
from lit_distill.tools.evaluating.reporting.cost import CostSpec
from lit_distill.tools.evaluating.reporting.report import write_report
from lit_distill.tools.evaluating.scoring.masked_tokens import MaskedTokens as MaskedTokens
from lit_distill.tools.evaluating.scoring.metrics import check_names
from lit_distill.tools.models_by_seed import named


def evaluate(
    models: dict[str, str],
    output: str,
    tasks: dict[str, Task] | None = None,
    reference: str = "teacher",
    control: str | None = None,
    seeds: tuple[Seed, ...] = (1, 2, 3),
    probes: dict[str, Probe] | None = None,
    cost: CostSpec | None = None,
    jobs: Count = 1,
    only: Only = Only(),  # noqa: B008 (frozen)
    report_only: bool = False,
) -> list[CellResult]:
    """Asks models about tasks, and reports what of the reference's scores the others retain.

    A cell is a model asked about a task under a seed. Cells that are there already, of the same
    model, data, mode and seed, are not asked again; broken ones are.

    Args:
        models: names and Hugging Face folders or hub names, as `--models.teacher runs/x/student`;
            `{seed}` in one is the cell's seed, of models that were trained under each.
        output: a folder for cells and the report: results.json, report.md and two figures.
        tasks: what is asked, by name; null: probes alone.
        reference: name of the model that the others are compared with.
        control: name of the model that was trained without the reference.
        seeds: of everything random in a cell.
        probes: questions that need no task, by name.
        cost: how parameters, memory and speed are measured; null: they are not.
        jobs: processes that ask cells at the same time.
        only: a part of the cells; costs and probes are asked by runs without it.
        report_only: ask nothing; report on the cells that are there, whatever they were made of.

    Raises:
        UserError: something cannot be asked; said before any cell is.
        SystemExit: 1, at the end: a cell or a probe broke.
    """
    check_knobs(evaluate, locals())
    tasks, probes, place = tasks or {}, probes or {}, Path(output)
    _check(models, tasks, reference, control, seeds, only, probes)
    cells = plan(models, tasks, seeds, place, not report_only, only)
    if not report_only:
        _ask([cell for cell in cells if only.has(cell.place)], jobs)
    results = _answers(cells, report_only)
    beside = Beside(named(models, seeds[0]), place, ask=not report_only and only == Only())
    answers, broken = _probed(beside, probes)
    more: dict[str, Any] = {"costs": beside.costs(cost), "probes": answers, "marks": beside.marks}
    more["metrics"] = {name: task.metrics for name, task in tasks.items() if task.metrics}
    write_report(place, results, models=models, reference=reference, control=control, **more)
    _tell(broken, results)
    return results


def _answers(cells: Sequence[Cell], whatever: bool) -> list[CellResult]:
    """What is there of cells: of those that are as they are now, or whatever they were made of."""
    found = [cell.place.read(None if whatever else cell.identity) for cell in cells]
    return [result for result in found if result is not None]


def _tell(broken: Mapping[str, str], results: Sequence[CellResult]) -> None:
    """Ends the command where a probe or a cell broke, with a line for each."""
    cells = {f"{one.model}, {one.task}, seed {one.seed}": one.error for one in results if one.error}
    for name, error in {**broken, **cells}.items():
        print(f"broken: {name}: {error}", file=sys.stderr)
    if broken or cells:
        raise SystemExit(1)


def _check(
    models: Mapping[str, str],
    tasks: Mapping[str, Task],
    reference: str,
    control: str | None,
    seeds: Sequence[int],
    only: Only,
    probes: Mapping[str, Probe],
) -> None:
    if not models or not (tasks or probes) or not seeds:
        raise UserError(
            "There is nothing to ask: models, tasks (or probes) and seeds each need one at least "
            "(--models.NAME FOLDER; tasks and probes in a --config)."
        )
    if len({*seeds}) < len(seeds):
        raise UserError(f"seeds: {list(seeds)} has one twice, which would count as two.")
    for option, name in (("reference", reference), ("control", control)):
        if name is not None and name not in models:
            raise UserError(
                f"{option}: {name!r} is none of the models {', '.join(models)}: give "
                f"--{option} one of these, or --models.{name} a folder."
            )
    for name, task in tasks.items():
        check_names(task.metrics, name)
    for name in probes:
        check_file_name(name, "probes")
    only.check([*models, *BASELINES], [*tasks], seeds)


def _ask(cells: list[Cell], jobs: int) -> None:
    """Asks the cells that are missing, after all of them have been looked at."""
    _check_unseen(cells)
    missing = [cell for cell in cells if not _answered(cell)]
    if len(missing) < len(cells):
        print(f"{len(cells) - len(missing)} of {len(cells)} cells are there already.")
    # Models before baselines, whose objections would be about what nobody wrote.
    for cell in {(cell.place.task, cell.place.model): cell for cell in reversed(missing)}.values():
        try:
            cell.mode.check(cell.source, cell.data)
        except UserError as error:
            raise UserError(f"tasks.{cell.place.task}: {error}") from error
    ask_all(missing, jobs)


def _check_unseen(cells: list[Cell]) -> None:
    """Refuses test texts that a model has been trained or selected on."""
    asked = {(cell.place.task, cell.place.model, cell.source): cell for cell in cells}
    seen = {asked: seen_in(cell.source, cell.data, "test") for asked, cell in asked.items()}
    found = [f"{model} {count} of {task}" for (task, model, _), count in seen.items() if count]
    if found:
        raise UserError(
            "Test texts were seen in training, distillation or selection, so that scores would say "
            f"nothing: {'; '.join(found)}. Give other `test` files, or train anew with these texts "
            "left out (`exclude` of a corpus)."
        )


def _answered(cell: Cell) -> bool:
    """Whether a cell is there, and sound."""
    found = cell.place.read(cell.identity)
    return found is not None and not found.error


def _probed(beside: Beside, probes: Mapping[str, Probe]) -> tuple[dict[str, Any], dict[str, str]]:
    """Answers by probe, and what went wrong."""
    answers, broken = {}, {}
    for name, probe in probes.items():
        try:
            answers[name] = beside.answers(name, probe)
        except Exception as error:  # whatever it is, the rest is still reported
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            broken[f"probe {name}"] = kind + " ".join(str(error).split())
    return answers, broken
