"""What a planted bug is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A bug: in `file`, `old` (found exactly once) becomes `new`, and `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str
