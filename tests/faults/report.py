"""What injected faults did, as a page."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

import lightning
import torch
import transformers
from faults.plan import Injection
from faults.remains import Differences

COMPARED = [field.name for field in fields(Differences)]


@dataclass
class Outcome:
    """What a fault did; a row of the table.

    Attributes:
        injection: the fault, and where.
        exits: exit codes by rank; minus the signal's number.
        saved: updates in the last save that was finished; `kept`: in the newest whole checkpoint.
        differences: at the end; None: it was not reached as it should.
    """

    injection: Injection
    exits: str = ""
    saved: int = 0
    kept: int = 0
    differences: Differences | None = None

    @property
    def is_lost(self) -> bool:
        return self.differences is None or self.kept < self.saved


@dataclass
class Chain:
    """What ten stops of one run did; a row of the second table.

    Attributes:
        method: that trained.
        stops: in their order.
        differences: at the end; None: it was not reached as it should.
    """

    method: str
    stops: str
    differences: Differences | None = None


def page(outcomes: list[Outcome], chains: list[Chain]) -> str:
    """The whole of `docs/faults.md`."""
    return "\n".join([*heading(), *chain_table(chains), "", *table(outcomes), ""])


def heading() -> list[str]:
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, lightning "
    versions += f"{lightning.__version__}, transformers {transformers.__version__}"
    return [
        "# Injected faults",
        "",
        f"Written by `make faults` ({versions}, {platform.system()}, CPU).",
        "",
        "The first table is of runs of 12 updates that are stopped ten times and resumed each time "
        "(`tests/faults/chains.py` draws where). "
        "In the second each row is a run that is harmed once (`tests/faults/plan.py` draws where) "
        "and then resumed by the command it printed (a single killed process prints none: by "
        "`--ckpt_path last`, or from the start if nothing was saved). *Kept* is the newest whole "
        "checkpoint after the fault, in updates, of the updates in the last save that was finished "
        "before it. *Exits* are codes by rank, minus the number of a signal; 2 goes with one line "
        "that says what to change. Two ranks train with `ddp` over gloo, started as `torchrun` "
        "starts them. Places count from 0.",
        "",
        "The last columns compare the end with that of a run without the fault (after NaN losses: "
        "of one that leaves out the same updates). *last* and *best* count differing bits of "
        "weights, optimizer state and number of updates in `last.ckpt` and `best.ckpt`; *students* "
        "those of all files in `student/` and `student-last/`, without `config.yaml`, which names "
        "its folder, and of `report.json`. *Scalars* counts those in TensorBoard's files that "
        "differ or are missing, by tag and step; what was logged before the fault and again after "
        "it must agree. Lightning's own `epoch` is not compared; nor is what an update logged that "
        "was left out before a stop and made after it. DistiLLM's "
        "threshold depends on every validation so far.",
        "",
    ]


def table(outcomes: list[Outcome]) -> list[str]:
    """Of single faults."""
    kinds = Counter(outcome.injection.fault.name for outcome in outcomes)
    return [
        f"**{len(outcomes)} faults, {sum(outcome.is_lost for outcome in outcomes)} lost, "
        f"{total(outcome.differences for outcome in outcomes)}**",
        f"({', '.join(f'{count} {name}' for name, count in kinds.items())}).",
        "",
        f"| fault | where | method | workers | ranks | exits | kept | {' | '.join(COMPARED)} |",
        f"|---|---|---|---|---|---|---|{'---|' * len(COMPARED)}",
        *map(_row, outcomes),
    ]


def chain_table(chains: list[Chain]) -> list[str]:
    """Of ten stops in a row, each of the process that the one before had made necessary."""
    return [
        f"**{len(chains)} chains of ten stops, "
        f"{sum(chain.differences is None for chain in chains)} lost, "
        f"{total(chain.differences for chain in chains)}**",
        "(KILL is kill -9; at the first place of its kind after so many updates).",
        "",
        f"| method | stops | {' | '.join(COMPARED)} |",
        f"|---|---|{'---|' * len(COMPARED)}",
        *(
            f"| {chain.method} | {chain.stops} | {' | '.join(cells(chain.differences))} |"
            for chain in chains
        ),
    ]


def total(found: Iterable[Differences | None]) -> str:
    """Of all differences, in words."""
    known = [one for one in found if one is not None]
    bits = sum(one.last + one.best + one.students for one in known)
    return f"{bits} differing bits, {sum(one.scalars for one in known)} differing scalars"


def cells(found: Differences | None) -> list[str]:
    """Of the columns that compare."""
    return ["LOST"] * len(COMPARED) if found is None else [*map(str, astuple(found))]


def _row(outcome: Outcome) -> str:
    one = outcome.injection
    kept = f"{outcome.kept} of {outcome.saved}"
    place = (one.fault.name, one.fault.where, one.method, one.workers, one.ranks)
    found = (*place, outcome.exits, kept, *cells(outcome.differences))
    return f"| {' | '.join(map(str, found))} |"
