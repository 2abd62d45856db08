"""Findings of `check`: what was found, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

Level = Literal["error", "warning", "note"]
CODES = {"error": 2, "warning": 1, "note": 0}
COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know before a run.

    Attributes:
        level: an error ends the run or makes it worthless, a warning may, a note is what one should
            have seen.
        about: its subject, in a word or two.
        text: what was found.
        remedy: what to do; of a note, nothing may be left to do.
    """

    level: Level
    about: str
    text: str
    remedy: str = ""


@dataclass
class Checked:
    """All that `check` found.

    Attributes:
        findings: in the order in which they were found.
        figures: tables of numbers by title, as name and text.
        numbers: the same for programs: bytes, seconds, counts.
    """

    findings: list[Finding] = field(default_factory=list)
    figures: dict[str, dict[str, str]] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)

    def add(self, found: Iterable[Finding]) -> None:
        """Adds findings, each once."""
        self.findings += [one for one in dict.fromkeys(found) if one not in self.findings]

    @property
    def code(self) -> int:
        """The exit code: 2 with an error, 1 with a warning, else 0."""
        return max((CODES[one.level] for one in self.findings), default=0)

    def as_json(self) -> str:
        """For programs."""
        found = [asdict(one) for one in self.findings]
        return json.dumps({"code": self.code, "findings": found, **self.numbers}, indent=1)

    def show(self, console: Console) -> None:
        """Prints tables of numbers, then findings with their remedies, the worst last."""
        for title, rows in self.figures.items():
            table = Table(title=title, title_justify="left", show_header=False, box=None)
            for name, text in rows.items():
                table.add_row(name, text)
            console.print(table, "")
        for one in sorted(self.findings, key=lambda one: CODES[one.level]):
            colour = COLOURS[one.level]
            console.print(
                f"[{colour}]{one.level}[/] [bold]{one.about}[/]: ", end="", highlight=False
            )
            console.print(one.text, one.remedy, markup=False, highlight=False)
        counts = {level: sum(one.level == level for one in self.findings) for level in CODES}
        said = [f"{count} {level}{'s' * (count > 1)}" for level, count in counts.items() if count]
        console.print(f"\n{', '.join(said) or 'Nothing was found'}.", highlight=False)


def in_bytes(count: float) -> str:
    """A number of bytes in words."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return (
                f"{count / size:.3g} {unit}"
                if count < 1000 * size
                else f"{count / size:.0f} {unit}"
            )
    return f"{count:.0f} bytes"


def in_time(seconds: float) -> str:
    """A time in words."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
