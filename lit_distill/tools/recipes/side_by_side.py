"""Several stages of a recipe at once: those that need nothing of each other."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from lit_distill.errors import UserError
from lit_distill.tools.recipes.processes import INTERRUPTED, patience, prepared
from lit_distill.tools.recipes.progress import Progress, Start
from lit_distill.tools.recipes.recipe import Recipe

SECONDS = 0.5
"""Between two looks at what runs."""
TAIL = 2000
"""Bytes at the end of a log in which its last line is looked for."""


@dataclass(frozen=True)
class Running:
    """A stage and its process.

    Attributes:
        start: what runs.
        process: of `multiprocessing`.
        log: the file with all that it prints.
        began: by `time.monotonic`.
    """

    start: Start
    process: Any
    log: Path
    began: float


class SideBySide:
    """Runs a recipe's stages in several processes, each as soon as what it needs is there.

    A failed stage ends no other, but what needs it does not start.

    Args:
        plan: the recipe.
        progress: of its stages.
        jobs: how many may run at once.
    """

    def __init__(self, plan: Recipe, progress: Progress, jobs: int) -> None:
        self.plan, self.progress, self.jobs = plan, progress, jobs
        self.waiting = [*plan.stages]
        self.running: list[Running] = []
        self.failed: dict[str, str] = {}
        self.stopped = False

    def run(self) -> None:
        """Runs what is not finished.

        Raises:
            SystemExit: 1 if a stage failed, 130 if this process was told to stop.
        """
        console = Console()
        with (
            patience(self._terminate, self._stop),
            Live(console=console, auto_refresh=False, transient=True) as live,
        ):
            while self.running or (self.waiting and not self.stopped):
                self._start_ready()
                if console.is_terminal:
                    live.update(self._overview(), refresh=True)
                self._wait()
        for name, reason in self.failed.items():
            print(f"{name}: {reason}", file=sys.stderr)
        if self.stopped or self.failed:
            how = "Told to stop." if self.stopped else f"{len(self.failed)} stages are missing."
            print(
                f"\n{how} The same `run` goes on from here; finished stages are skipped.",
                file=sys.stderr,
            )
            raise SystemExit(130 if self.stopped else 1)

    def _start_ready(self) -> None:
        """Starts stages whose needs are settled, while there is room."""
        for stage in [*self.waiting]:
            unsettled = {other.name for other in self.waiting}
            unsettled |= {one.start.stage.name for one in self.running}
            lacking = [name for name in stage.needs if name in self.failed]
            if lacking:
                self.waiting.remove(stage)
                self.failed[stage.name] = f"not started, because it needs {', '.join(lacking)}"
            elif not unsettled & {*stage.needs}:
                if self.stopped or len(self.running) >= self.jobs:
                    return
                self.waiting.remove(stage)
                try:
                    start = self.progress.start_of(stage)
                    if start is not None:
                        self._launch(start)
                except UserError as error:
                    self.failed[stage.name] = str(error)

    def _launch(self, start: Start) -> None:
        import torch

        log = self.plan.run_dir / "logs" / f"{start.stage.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        threads = max(torch.get_num_threads() // self.jobs, 1)
        print(f"{start.title}: {start.stage.command_line(*start.more)} > {log}", flush=True)
        process = prepared(start.args, log, threads)
        process.start()
        self.running.append(Running(start, process, log, time.monotonic()))

    def _wait(self) -> None:
        """Waits a moment, and takes leave of the stages that have ended."""
        wait([one.process.sentinel for one in self.running], SECONDS)
        for one in [one for one in self.running if not one.process.is_alive()]:
            self.running.remove(one)
            name, code, title = one.start.stage.name, int(one.process.exitcode), one.start.title
            one.process.close()
            if code in INTERRUPTED:
                self.failed[name] = "was told to stop"
            elif code:
                said = _last_line(one.log)
                self.failed[name] = f"failed (exit code {code}); {one.log} ends with: {said}"
            else:
                try:
                    self.progress.finish(one.start)
                except UserError as error:
                    self.failed[name] = str(error)
            how = self.failed.get(name, f"done in {time.monotonic() - one.began:.0f} s")
            print(f"{title}: {how}", flush=True)

    def _stop(self) -> None:
        self.stopped = True

    def _terminate(self) -> None:
        for one in self.running:
            one.process.terminate()

    def _overview(self) -> RenderableType:
        """What runs, for how long, and what each printed last."""
        left, total = len(self.waiting), len(self.plan.stages)
        ended = total - left - len(self.running) - len(self.failed)
        title = f"{ended} of {total} stages done, {left} wait, {len(self.failed)} failed"
        table = Table(title=title, title_justify="left", box=None)
        for heading in ("runs", "min", "printed last"):
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        for one in self.running:
            minutes = (time.monotonic() - one.began) / 60
            table.add_row(one.start.stage.name, f"{minutes:.1f}", _last_line(one.log))
        return table


def _last_line(log: Path) -> str:
    """The last line of a file that is not empty."""
    try:
        with log.open("rb") as opened:
            opened.seek(max(log.stat().st_size - TAIL, 0))
            lines = opened.read().decode("utf-8", "replace").replace("\r", "\n").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
