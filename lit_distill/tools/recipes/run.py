"""Runs a recipe: finished stages are skipped, a broken one goes on where it was."""

from __future__ import annotations

import json
import multiprocessing
import runpy
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from lit_distill.cli.parsing import modules
from lit_distill.cli.parsing.options import OPTION
from lit_distill.errors import UserError
from lit_distill.tools.recipes.recipe import Recipe, Stage, read_recipe

OUTPUTS = ("student", "student-last", "checkpoints")
"""What a fit leaves in its folder."""
WARM = ("callbacks", "data_modules", "lightning.pytorch.cli", "lit_distill.methods")
INTERRUPTED = (130, 143, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of a stage that was told to stop."""


@dataclass(frozen=True)
class Record:
    """What is written down about a stage, in the recipe's run folder.

    Attributes:
        digest: of the stage as it was started.
        identity: of this start; stages that need this one remember it.
        finished: whether it got to its end.
        outputs: what a fit had left in its folder by then, of `OUTPUTS`.
    """

    digest: str
    identity: str
    finished: bool = False
    outputs: Sequence[str] = ()


def run(
    recipe: str,
    variables: dict[str, str] | None = None,
    from_stage: str | None = None,
    only: str | None = None,
) -> None:
    """Runs the stages of a recipe in order, each in a process of its own.

    A stage is finished when it got to its end as it is defined now (the same options, config files
    and finished runs of the stages it needs), and what it wrote is still there. Finished stages are
    skipped. One that was interrupted goes on from its last checkpoint. One whose definition changed
    starts anew, and what it had written as a run is kept aside.

    Args:
        recipe: the file.
        variables: values for the recipe's `variables`, as `--variables.NAME=VALUE`.
        from_stage: run this stage and all after it, finished or not.
        only: run this stage only, finished or not.

    Raises:
        UserError: the recipe cannot work, or a stage lacks what it needs, or what it wrote.
        SystemExit: a stage failed, with its exit code; 130 if it was told to stop.
    """
    plan = read_recipe(Path(recipe), variables or {})
    forced = _forced(plan, from_stage, only)
    print(f"tensorboard --logdir {plan.run_dir}    # curves and figures, while it runs\n")
    identities: dict[str, str] = {}
    for number, stage in enumerate(plan.stages, 1):
        title = f"[{number}/{len(plan.stages)}] {stage.name}"
        journal = Journal(plan.run_dir, stage)
        record = journal.read()
        chosen = only is None or stage.name == only
        missing = [name for name in stage.needs if name not in identities]
        if missing and chosen:
            raise UserError(f"{stage.name} needs {', '.join(missing)}: run without --only first.")
        digest = "" if missing else stage.digest(identities)
        same = record is not None and record.digest == digest and stage.name not in forced
        finished = record is not None and same and record.finished and stage.folder.exists()
        gone = _missing(plan, stage, record.outputs) if record is not None and finished else []
        if record is not None and finished and not gone:
            print(f"{title}: finished before, in {stage.folder}")
            identities[stage.name] = record.identity
        elif chosen:
            _check_repeatable(title, stage, gone)
            resumed = record if same and not gone and stage.folder.exists() else None
            record = resumed or Record(digest, secrets.token_hex(8))
            _run_stage(title, stage, journal, record, resumed is not None)
            _finish(plan, stage, journal, record)
            identities[stage.name] = record.identity
    print(f"\nAll in {plan.run_dir}. Curves: tensorboard --logdir {plan.run_dir}")


class Journal:
    """Where the record of a stage is kept."""

    def __init__(self, run_dir: Path, stage: Stage) -> None:
        self.path = run_dir / ".stages" / f"{stage.name}.json"

    def read(self) -> Record | None:
        """The record; None if there is none that can be read."""
        try:
            return Record(**json.loads(self.path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, record: Record) -> None:
        """Replaces the record, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".tmp")
        beside.write_text(json.dumps(asdict(record)), "utf-8")
        beside.replace(self.path)


def _forced(plan: Recipe, from_stage: str | None, only: str | None) -> set[str]:
    names = [stage.name for stage in plan.stages]
    for option, name in (("from_stage", from_stage), ("only", only)):
        if name is not None and name not in names:
            raise UserError(f"--{option}: there is no stage {name!r}; there is {', '.join(names)}.")
    forced = set(names[names.index(from_stage) :]) if from_stage is not None else set()
    return forced | ({only} if only is not None else set())


def _missing(plan: Recipe, stage: Stage, outputs: Sequence[str]) -> list[Path]:
    """What is not in a stage's folder, of its outputs and of what other stages read there."""
    read = [path for other in plan.stages for path in other.reads]
    wanted = [stage.folder / name for name in outputs]
    wanted += [path for path in read if stage.folder in (path, *path.parents)]
    return [path for path in dict.fromkeys(wanted) if not path.exists()]


def _finish(plan: Recipe, stage: Stage, journal: Journal, record: Record) -> None:
    """Notes that a stage got to its end, if it has written what others read."""
    if lacking := _missing(plan, stage, ()):
        reader = next(other.name for other in plan.stages if lacking[0] in other.reads)
        raise UserError(
            f"Stage {stage.name} has ended without {lacking[0]}, which stage {reader} reads: look "
            "at what it printed, and whether its options leave out what writes it."
        )
    kept = [name for name in OUTPUTS if (stage.folder / name).exists()]
    journal.write(replace(record, finished=True, outputs=kept))


def _check_repeatable(title: str, stage: Stage, gone: Sequence[Path]) -> None:
    """Says that a finished stage runs again, because of what is gone.

    Raises:
        UserError: its checkpoints are still there, so training anew would be a waste.
    """
    if not gone:
        return
    if stage.command != "fit" or not any((stage.folder / "checkpoints").glob("*.ckpt")):
        print(f"{title}: finished before, but {gone[0]} is gone: it runs again")
        return
    student = stage.folder / "student"
    again = shlex.join(
        ["python", "-m", "lit_distill", "export", str(stage.folder), "--output", str(student)]
    )
    how = f"Write it from its checkpoint ({again})" if student in gone else "Put it back"
    raise UserError(
        f"Stage {stage.name} is finished, but {gone[0]} is gone. {how}, or train it again with "
        f"--from_stage {stage.name}."
    )


def _run_stage(title: str, stage: Stage, journal: Journal, record: Record, resume: bool) -> None:
    more: list[str] = []
    if stage.command == "fit":
        from callbacks import newest_readable_checkpoint

        if resume and newest_readable_checkpoint(stage.folder / "checkpoints")[0] is not None:
            more = ["--ckpt_path=last"]
        else:
            _put_aside(stage.folder)
    journal.write(record)
    print(f"{title}: {stage.command_line(*more)}", flush=True)
    start = time.monotonic()
    code = execute([stage.command, *stage.args, *more])
    if code:
        stopped = code in INTERRUPTED
        how = "was told to stop" if stopped else f"failed (exit code {code})"
        print(
            f"\nStage {stage.name} {how}. The same `run` goes on from here; finished stages are "
            "skipped.",
            file=sys.stderr,
        )
        raise SystemExit(130 if stopped else max(code, 1))
    print(f"{title}: done in {time.monotonic() - start:.0f} s, in {stage.folder}\n", flush=True)


def _put_aside(folder: Path) -> None:
    """Keeps the run of an earlier definition: training is never thrown away."""
    if not any((folder / name).exists() for name in OUTPUTS):
        return
    number = 1
    while (kept := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    folder.rename(kept)
    print(f"The earlier run in {folder} is now in {kept}.")


def execute(args: list[str]) -> int:
    """Runs one command in a process of its own.

    Without a GPU the process is forked off this one, which has imported everything already (about
    ten seconds that no stage pays); CUDA does not survive a fork.

    Returns:
        Its exit code; that of a signal is negative.
    """
    import torch

    forks = sys.platform == "linux" and not torch.cuda.is_available()
    for name in WARM if forks else ():
        import_module(name)
    context: Any = multiprocessing.get_context("fork" if forks else "spawn")
    process = context.Process(target=_command, args=(args,))
    with _patience(process):
        process.start()
        process.join()
    return int(process.exitcode)


@contextmanager
def _patience(process: Any) -> Iterator[None]:
    """Leaves Ctrl-C to the stage, which saves and stops, and hands SIGTERM on to it."""

    def hand_on(number: int, frame: FrameType | None) -> None:
        del number, frame
        process.terminate()

    before: Mapping[int, Any] = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, hand_on),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _command(args: list[str]) -> None:
    """`python -m lit_distill ARGS`, in a process that may have imported it before."""
    args = [*args, *(f"{OPTION}={name}" for name in modules.permitted)]  # as typed for `run`
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.argv[1:] = args
    sys.modules.pop("lit_distill.__main__", None)
    runpy.run_module("lit_distill", run_name="__main__", alter_sys=True)
