"""Asks cells, one after the other or in several processes; a broken one does not end the others."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lit_distill.errors import UserError
from lit_distill.tools.evaluating.cells.cell import CellResult
from lit_distill.tools.evaluating.cells.mode import Question
from lit_distill.tools.evaluating.cells.predictions import Predictions
from lit_distill.tools.evaluating.plan import Cell


def ask_all(cells: Sequence[Cell], jobs: int) -> None:
    """Asks cells and writes each to its place; a bar says what runs and how long the rest takes.

    Args:
        cells: in any order.
        jobs: processes; 1: this one. They share the cores.
    """
    console = Console()
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    running: dict[str, None] = {}
    with Progress(*columns, console=console, transient=True) as bar:
        shown = bar.add_task("", total=len(cells))

        def watched(answer: Callable[[Cell], CellResult], cell: Cell) -> None:
            running[cell.name] = None
            bar.update(shown, description="; ".join(running))
            result = answer(cell)
            del running[cell.name]
            bar.update(shown, advance=1, description="; ".join(running))
            console.print(f"{cell.name}: {summary(result)}", markup=False, highlight=False)

        if jobs == 1 or len(cells) < 2:
            for cell in cells:
                watched(ask, cell)
        else:
            _in_processes(cells, min(jobs, len(cells)), watched)


def ask(cell: Cell) -> CellResult:
    """Asks one cell and writes it.

    Raises:
        UserError: what it found could not be written.
    """
    start, folder = time.perf_counter(), cell.place.working
    folder.mkdir(parents=True, exist_ok=True)
    found, error, trace = None, "", ""
    try:
        question = Question(cell.source, cell.data, cell.place.seed, folder)
        found = cell.mode.predict(question)
    except Exception as raised:  # whatever it is, the other cells are still asked
        error = " ".join(str(raised).split())
        if not isinstance(raised, UserError):
            error = f"{type(raised).__name__}: {error}"
            trace = traceback.format_exc()
    return _written(cell, time.perf_counter() - start, found=found, error=error, trace=trace)


def summary(result: CellResult) -> str:
    """What a finished cell is shown as: how often it was right, and how long it took."""
    if result.predictions is None:
        return f"broken: {result.error}"
    found, right = result.predictions, ""
    if found.labels and len(found):
        hits = int((found.chosen == found.targets).sum())
        low, high = binomial_interval(hits, len(found))
        right = f"accuracy {hits / len(found):.3f} [{low:.3f}, {high:.3f}], "
    return f"{right}{len(found)} rows, {result.seconds:.0f} s"


def binomial_interval(hits: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share: rows of one example are taken for independent."""
    from scipy.stats import binomtest

    interval = binomtest(hits, trials).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def _in_processes(
    cells: Sequence[Cell], jobs: int, watched: Callable[[Callable[[Cell], CellResult], Cell], None]
) -> None:
    """A thread for every process hands it one cell after the other."""
    waiting: SimpleQueue[Cell] = SimpleQueue()
    for cell in cells:
        waiting.put(cell)

    def hand_out(worker: Worker) -> None:
        with suppress(Empty, StoppedError):
            while True:
                watched(worker.ask, waiting.get_nowait())

    with _shared_cores(jobs):
        workers = [Worker() for _ in range(jobs)]
        pool = ThreadPoolExecutor(jobs)
        try:
            for handed in [pool.submit(hand_out, worker) for worker in workers]:
                handed.result()
        finally:
            for worker in workers:
                worker.stop()
            pool.shutdown()


@contextmanager
def _shared_cores(jobs: int) -> Iterator[None]:
    """Has every process that is started use its share of the cores, unless somebody has said so."""
    name, before = "OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS")
    os.environ.setdefault(name, str(max(1, (os.cpu_count() or 1) // jobs)))  # torch reads it
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


class StoppedError(Exception):
    """A process was ended because nothing more is asked."""


class Worker:
    """A process that asks cells, and is started anew when one has killed it."""

    def __init__(self) -> None:
        self._stopped = False
        self._start()

    def ask(self, cell: Cell) -> CellResult:
        """See `ask`, in the process; should it die, the cell is broken."""
        start = time.perf_counter()
        try:
            self._connection.send(cell)
            result: CellResult = self._connection.recv()
            return result
        except (EOFError, OSError):
            error = self._ending()
        except Exception as raised:  # of settings that only this process can have
            error = f"it cannot be asked by another process ({raised}): use jobs: 1."
        return _written(cell, time.perf_counter() - start, error=error)

    def _ending(self) -> str:
        """Says how the process ended, and starts another one."""
        self._process.join()
        if self._stopped:
            raise StoppedError
        code = self._process.exitcode
        self._start()
        return (
            f"its process ended with {code}; if the system killed it (-9), memory was short: "
            "use fewer jobs."
        )

    def stop(self) -> None:
        """Ends the process, whatever it does."""
        self._stopped = True
        self._process.terminate()
        self._process.join()
        self._connection.close()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,))
        self._process.start()
        theirs.close()  # so that its end is noticed


def _serve(connection: Connection) -> None:
    """Asks cells until nobody hands out any more."""
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            connection.send(ask(connection.recv()))


def _written(
    cell: Cell, seconds: float, found: Predictions | None = None, error: str = "", trace: str = ""
) -> CellResult:
    place = cell.place
    result = CellResult(place.model, place.task, place.seed, found, seconds, error)
    place.write(result, cell.identity, trace)
    return result
