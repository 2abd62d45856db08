"""Ten stops of one run, each of the process that went on after the one before."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from faults.configs import UPDATES, VALIDATED_EVERY
from faults.runs import Run
from faults.traps import write_half_and_die

import callbacks.saving.checkpoint_io
from callbacks import AtomicCheckpointIO, ExportStudent
from lit_distill.training.distillation import Distillation

VALIDATED = range(VALIDATED_EVERY, UPDATES + 1, VALIDATED_EVERY)
Reached = Callable[..., int]
"""Updates at a call of a function, from its arguments; negative: it is not the place."""


def _at_micro_batch(number: int) -> Reached:
    def updates(module: Distillation, batch: Any, index: int) -> int:
        size = module.trainer.accumulate_grad_batches
        here = index % size == number % size
        return module.global_step if here else -1

    return updates


PLACES: dict[str, tuple[list[tuple[Any, str]], Reached, bool]] = {
    "validation": (
        [(Distillation, "validation_step")],
        lambda module, *_: module.global_step,
        False,
    ),
    "report": (
        [(ExportStudent, "_write_report")],
        lambda own, trainer, module: trainer.global_step,
        False,
    ),
    "half of checkpoint": (
        [(callbacks.saving.checkpoint_io.torch, "save")],
        lambda checkpoint, file: checkpoint["global_step"],
        False,
    ),
    "after checkpoint": (
        [(AtomicCheckpointIO, "save_checkpoint")],
        lambda own, checkpoint, *_, **__: checkpoint["global_step"],
        True,
    ),
    "micro-batch 0": ([(Distillation, "training_step")], _at_micro_batch(0), False),
    "micro-batch 1": ([(Distillation, "training_step")], _at_micro_batch(1), False),
}
"""Functions, the updates at a call, whether the stop comes after it; in the order of a run."""


@dataclass(frozen=True)
class Stop:
    """One end of a process.

    Attributes:
        update: the place is reached first after so many updates, or after more.
        place: where in the run; of `PLACES`.
        number: of the signal.
        rank: of the process that it meets, where there are several.
    """

    update: int
    place: str
    number: signal.Signals
    rank: int = 0

    def __str__(self) -> str:
        return f"{self.number.name.removeprefix('SIG')} {self.place} {self.update}"

    @property
    def code(self) -> int:
        """The exit code that the process must have."""
        return -self.number if self.number == signal.SIGKILL else 128 + self.number

    def set_trap(self) -> None:
        """Has this process stop there, if it is that of the rank."""
        if int(os.environ["RANK"]) != self.rank % int(os.environ.get("WORLD_SIZE", "1")):
            return
        functions, updates_at, after = PLACES[self.place]
        done = False

        def stop(arguments: tuple[Any, ...]) -> None:
            nonlocal done
            if done or updates_at(*arguments) < self.update:
                return
            done = True  # a second SIGTERM would end it at once
            if self.place.startswith("half"):
                write_half_and_die(*arguments)
            os.kill(os.getpid(), self.number)

        def trapped(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                if not after:
                    stop(arguments)
                result = real(*arguments, **options)
                if after:
                    stop(arguments)
                return result

            return call

        for of, name in functions:
            setattr(of, name, trapped(getattr(of, name)))


def drawn(method: str, saved_every: int) -> list[Stop]:
    """Ten stops in the order of a run: in five updates, and around saves and validations."""
    draw = random.Random(method)
    term, killed = signal.SIGTERM, signal.SIGKILL
    saved = [n for n in range(1, UPDATES + 1) if n in VALIDATED or n % saved_every == 0]
    stops = [
        Stop(update, f"micro-batch {draw.randrange(2)}", number)
        for update, number in zip(
            draw.sample(range(UPDATES), 5), (killed, killed, killed, term, term), strict=True
        )
    ]
    first, second = draw.sample(VALIDATED, 2)
    stops += [
        Stop(first, "validation", killed),
        Stop(second, "validation", term),
        Stop(draw.choice(VALIDATED), "report", killed),
        Stop(draw.choice(saved), "half of checkpoint", killed),
        Stop(draw.choice(saved), "after checkpoint", killed),
    ]
    order = list(PLACES)
    return sorted(stops, key=lambda stop: (stop.update, order.index(stop.place)))


def stopped(run: Run, stops: list[Stop]) -> None:
    """Starts a run, stops it at each, and lets it end; whatever was saved must be kept."""
    command = run.fit()
    for stop in stops:
        codes = run.work(command, stop.set_trap)
        assert codes[stop.rank % run.ranks] == stop.code, f"{stop}: {run.output()}"
        assert all(codes), f"{stop}: {run.output()}"  # the others cannot go on alone
        assert run.kept >= run.saved, stop
        again = run.fit("--ckpt_path", "last") if run.kept else run.fit()
        command = run.printed_command or again
    assert not any(run.work(command)), run.output()
