"""How far a recipe has come: which stages are finished, and what becomes of the next one."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lit_distill.errors import UserError
from lit_distill.tools.recipes.journal import Journal, Record
from lit_distill.tools.recipes.recipe import Recipe, Stage

OUTPUTS = ("student", "student-last", "checkpoints")
"""What a fit leaves in its folder."""


@dataclass(frozen=True)
class Start:
    """A stage that is to run now.

    Attributes:
        stage: which.
        record: what its journal says already.
        more: options of this start alone.
        title: its number and name, for what is printed.
    """

    stage: Stage
    record: Record
    more: tuple[str, ...]
    title: str

    @property
    def args(self) -> list[str]:
        """Of the command line."""
        return [self.stage.command, *self.stage.args, *self.more]


class Progress:
    """The state of a recipe's stages, asked for one after the other in an order of their needs.

    Args:
        plan: the recipe.
        forced: names of stages that run, finished or not.
        only: names of those that may run; None: all.
    """

    def __init__(
        self, plan: Recipe, forced: Collection[str], only: Collection[str] | None = None
    ) -> None:
        self.plan, self.forced, self.only = plan, forced, only
        self._identities: dict[str, str] = {}
        self._numbers = {stage.name: number for number, stage in enumerate(plan.stages, 1)}

    def start_of(self, stage: Stage) -> Start | None:
        """What is to run of a stage whose needs have been settled; None: nothing.

        Raises:
            UserError: it needs a stage that has not been run, or what it wrote is gone.
        """
        title = f"[{self._numbers[stage.name]}/{len(self._numbers)}] {stage.name}"
        journal = Journal(self.plan.run_dir, stage.name)
        record = journal.read()
        chosen = self.only is None or stage.name in self.only
        missing = [name for name in stage.needs if name not in self._identities]
        if missing and chosen:
            raise UserError(f"{stage.name} needs {', '.join(missing)}: run without --only first.")
        digest = "" if missing else stage.digest(self._identities)
        same = record is not None and record.digest == digest and stage.name not in self.forced
        finished = record is not None and same and record.finished and stage.folder.exists()
        gone = self._missing(stage, record.outputs) if record is not None and finished else []
        if record is not None and finished and not gone:
            print(f"{title}: finished before, in {stage.folder}")
            self._identities[stage.name] = record.identity
            return None
        if not chosen:
            return None
        _check_repeatable(title, stage, gone)
        resumed = record if same and not gone and stage.folder.exists() else None
        more = _prepared(stage, resumed is not None)
        record = resumed or Record(digest, secrets.token_hex(8))
        journal.write(record)
        return Start(stage, record, more, title)

    def finish(self, start: Start) -> None:
        """Notes that a stage got to its end.

        Raises:
            UserError: it has not written what others read.
        """
        stage = start.stage
        if lacking := self._missing(stage, ()):
            reader = next(other.name for other in self.plan.stages if lacking[0] in other.reads)
            raise UserError(
                f"Stage {stage.name} has ended without {lacking[0]}, which stage {reader} reads: "
                "look at what it printed, and whether its options leave out what writes it."
            )
        kept = [name for name in OUTPUTS if (stage.folder / name).exists()]
        record = replace(start.record, finished=True, outputs=kept)
        Journal(self.plan.run_dir, stage.name).write(record)
        self._identities[stage.name] = record.identity

    def _missing(self, stage: Stage, outputs: Sequence[str]) -> list[Path]:
        """What is not in a stage's folder, of its outputs and of what other stages read there."""
        read = [path for other in self.plan.stages for path in other.reads]
        wanted = [stage.folder / name for name in outputs]
        wanted += [path for path in read if stage.folder in (path, *path.parents)]
        return [path for path in dict.fromkeys(wanted) if not path.exists()]


def _prepared(stage: Stage, resume: bool) -> tuple[str, ...]:
    """The options with which a fit goes on; one that starts anew gets its folder empty."""
    if stage.command != "fit":
        return ()
    from callbacks import newest_readable_checkpoint

    if resume and newest_readable_checkpoint(stage.folder / "checkpoints")[0] is not None:
        return ("--ckpt_path=last",)
    _put_aside(stage.folder)
    return ()


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


def _put_aside(folder: Path) -> None:
    """Keeps the run of an earlier definition: training is never thrown away."""
    if not any((folder / name).exists() for name in OUTPUTS):
        return
    number = 1
    while (kept := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    folder.rename(kept)
    print(f"The earlier run in {folder} is now in {kept}.")
