"""Options of `check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from lit_distill.knobs import Positive, check_knobs

Rehearsed = Annotated[int, Interval(ge=4, le=10_000)]
"""One that warms up, one that is timed, two whose memory is counted."""


@dataclass(frozen=True)
class CheckOptions:
    """How much of a run is rehearsed, and what machine it is meant for.

    Attributes:
        updates: how many are rehearsed, at most: the first warms up, the memory of the last two is
            counted, those between are timed; their second half tells how long an update takes.
        seconds: after so many no further update is timed, where three have been.
        memory_gib: memory of a device of the machine that the run is for; None: what is free here.
        days: a run that takes longer is said.
    """

    updates: Rehearsed = 40
    seconds: Positive = 60.0
    memory_gib: Positive | None = None
    days: Positive = 7.0

    def __post_init__(self) -> None:
        check_knobs(CheckOptions, vars(self))
