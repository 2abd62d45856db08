"""What injected faults did, as a page."""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import dataclass

import lightning
import torch
import transformers
from faults.plan import Injection


@dataclass
class Outcome:
    """What a fault did; a row of the table.

    Attributes:
        injection: the fault, and where.
        exits: exit codes by rank; minus the signal's number.
        saved: updates in the last save that was finished; `kept`: in the newest whole checkpoint.
        bits: differing ones at the end; None: the end was not reached as it should.
    """

    injection: Injection
    exits: str = ""
    saved: int = 0
    kept: int = 0
    bits: int | None = None

    @property
    def is_lost(self) -> bool:
        return self.bits is None or self.kept < self.saved


def page(outcomes: list[Outcome]) -> str:
    """The whole of `docs/faults.md`."""
    return "\n".join([*heading(), *table(outcomes), ""])


def heading() -> list[str]:
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, lightning "
    versions += f"{lightning.__version__}, transformers {transformers.__version__}"
    return [
        "# Injected faults",
        "",
        f"Written by `make faults` ({versions}, {platform.system()}, CPU).",
        "",
        "Each row is a run of 12 updates that is harmed once (`tests/faults/plan.py` draws where) "
        "and then resumed by the command it printed (a single killed process prints none: by "
        "`--ckpt_path last`, or from the start if nothing was saved). *Kept* is the newest whole "
        "checkpoint after the fault, in updates, of the updates in the last save that was finished "
        "before it; *bits* counts the bits of weights and optimizer state in which the end "
        "differs from that of a run without the fault (after NaN losses: of one that leaves out "
        "the same updates). "
        "*Exits* are codes by rank, minus the number of a signal; 2 goes with one line that says "
        "what to change. Two ranks train with `ddp` over gloo, started as `torchrun` starts them. "
        "Places count from 0.",
        "",
    ]


def table(outcomes: list[Outcome]) -> list[str]:
    lost = sum(outcome.is_lost for outcome in outcomes)
    differing = sum(outcome.bits or 0 for outcome in outcomes)
    kinds = Counter(outcome.injection.fault.name for outcome in outcomes)
    return [
        f"**{len(outcomes)} faults, {lost} lost, {differing} differing bits**",
        f"({', '.join(f'{count} {name}' for name, count in kinds.items())}).",
        "",
        "| fault | where | method | workers | ranks | exits | kept | bits |",
        "|---|---|---|---|---|---|---|---|",
        *map(_row, outcomes),
    ]


def _row(outcome: Outcome) -> str:
    one = outcome.injection
    kept = f"{outcome.kept} of {outcome.saved}"
    bits = "LOST" if outcome.is_lost else str(outcome.bits)
    cells = (one.fault.name, one.fault.where, one.method, one.workers, one.ranks)
    return f"| {' | '.join(map(str, (*cells, outcome.exits, kept, bits)))} |"
