"""Runs a recipe: finished stages are skipped, a broken one goes on where it was."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from lit_distill.errors import UserError
from lit_distill.knobs import Count, check_knobs
from lit_distill.tools.recipes.grid import as_text
from lit_distill.tools.recipes.processes import INTERRUPTED, execute
from lit_distill.tools.recipes.progress import Progress, Start
from lit_distill.tools.recipes.recipe import Recipe, read_recipe
from lit_distill.tools.recipes.side_by_side import SideBySide

Variable = str | list[Any] | dict[str, Any]
"""As a command line gives it: text, or the values of an axis."""

RESUMES = "The same `run` goes on from here; finished stages are skipped."


def run(
    recipe: str,
    variables: dict[str, Variable] | None = None,
    from_stage: str | None = None,
    only: str | None = None,
    jobs: Count = 1,
) -> None:
    """Runs the stages of a recipe in order, each in a process of its own.

    A stage is finished when it got to its end as it is defined now (the same options, config files
    and finished runs of the stages it needs), and what it wrote is still there. Finished stages are
    skipped. One that was interrupted goes on from its last checkpoint. One whose definition changed
    starts anew, and what it had written as a run is kept aside.

    Args:
        recipe: the file.
        variables: values for the recipe's `variables`, as `--variables.NAME=VALUE`.
        from_stage: run this stage and all after it, finished or not; of a grid, one cell or all.
        only: run this stage only, finished or not; of a grid, one cell or all.
        jobs: how many stages may run at once, those that need nothing of each other. They share the
            processor's cores, and each writes to a file of its own in the run folder's `logs`.

    Raises:
        UserError: the recipe cannot work, or a stage lacks what it needs, or what it wrote.
        SystemExit: a stage failed, with its exit code; 130 if it was told to stop.
    """
    check_knobs(run, locals())
    texts = {name: as_text(value) for name, value in (variables or {}).items()}
    plan = read_recipe(Path(recipe), texts)
    first, single = _named(plan, "from_stage", from_stage), _named(plan, "only", only)
    names = [stage.name for stage in plan.stages]
    forced = {*names[names.index(first[0]) :]} if first else {*single}
    progress = Progress(plan, forced, single or None)
    print(f"tensorboard --logdir {plan.run_dir}    # curves and figures, while it runs\n")
    if jobs > 1:
        SideBySide(plan, progress, jobs).run()
    else:
        for stage in plan.stages:
            if (start := progress.start_of(stage)) is not None:
                _run_stage(start)
                progress.finish(start)
    from lit_distill.tools.reporting.report import write_recipe_report

    print(f"\nAll in {plan.run_dir}. Curves: tensorboard --logdir {plan.run_dir}")
    write_recipe_report(plan.run_dir, [stage.folder.name for stage in plan.stages])


def _named(plan: Recipe, option: str, name: str | None) -> list[str]:
    """The stages that an option names: one, or all cells of a grid; none without it."""
    found = [stage.name for stage in plan.stages if name in (stage.name, stage.definition)]
    if name is not None and not found:
        names = ", ".join(dict.fromkeys(stage.definition for stage in plan.stages))
        cell = next((one.name for one in plan.stages if one.name != one.definition), "")
        example = f" One cell of a grid is named as {cell}." if cell else ""
        raise UserError(f"--{option}: there is no stage {name!r}; there is {names}.{example}")
    return found


def _run_stage(start: Start) -> None:
    print(f"{start.title}: {start.stage.command_line(*start.more)}", flush=True)
    began = time.monotonic()
    code = execute(start.args)
    name = start.stage.name
    if code:
        stopped = code in INTERRUPTED
        how = "was told to stop" if stopped else f"failed (exit code {code})"
        print(f"\nStage {name} {how}. {RESUMES}", file=sys.stderr)
        raise SystemExit(130 if stopped else max(code, 1))
    seconds = time.monotonic() - began
    print(f"{start.title}: done in {seconds:.0f} s, in {start.stage.folder}\n", flush=True)
