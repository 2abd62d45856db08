"""What a run told its loggers: numbers over updates, and the last tables of text.

TensorBoard's own reader reads its events; a CSV logger's files are read likewise. Tags are those of
the run: `train/<term>`, `val/<metric>`, `val/<language>/<metric>`, `val/samples`.
"""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lit_distill.tools.reporting.plain_files import text_of

KEPT = 3000
"""Points of a curve, and of more a sample with the last one."""
TEXTS = 3
_TEXT = "/text_summary"


@dataclass
class Curves:
    """What was logged.

    Attributes:
        numbers: values by tag and update.
        tables: the last one in Markdown, by tag.
        updates: of the last table, by tag.
        began: seconds since 1970 of the first event; None: nobody knows.
        ended: of the last.
    """

    numbers: dict[str, dict[int, float]] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    updates: dict[str, int] = field(default_factory=dict)
    began: float | None = None
    ended: float | None = None

    def points(self, tag: str) -> list[tuple[float, float]]:
        """A curve, rising in updates."""
        return [(step, value) for step, value in sorted(self.numbers.get(tag, {}).items())]

    def last(self, tag: str) -> float | None:
        """The number at the end of a curve."""
        own = self.numbers.get(tag, {})
        return own[max(own)] if own else None

    def add(self, tag: str, step: int, value: float) -> None:
        """A number; what is not finite has no place on paper."""
        if math.isfinite(value):
            self.numbers.setdefault(tag, {})[step] = value

    def table(self, tag: str, step: int, text: str) -> None:
        """A table; the latest counts."""
        if step >= self.updates.get(tag, step):
            self.tables[tag], self.updates[tag] = text, step

    def tags(self, stage: str, name: str) -> dict[str, str]:
        """Tags `<stage>/<middle>/<name>` by their middle, such as a language."""
        found = {}
        for tag in self.numbers:
            first, _, rest = tag.partition("/")
            middle, _, last = rest.rpartition("/")
            if first == stage and last == name and middle:
                found[middle] = tag
        return found


def curves_of(run: Path, problems: list[str]) -> Curves:
    """All that is found in a run folder.

    Args:
        run: the folder.
        problems: gets a sentence for what is there and cannot be read.
    """
    found = Curves()
    for folder in _folders(run, "events.out.tfevents.*"):
        try:
            _events(folder, found)
        except Exception as error:  # a reader of somebody else's, on files of anybody
            problems.append(f"The events in {folder.name} could not be read: {error}")
    for folder in _folders(run, "metrics.csv"):
        _numbers_of_csv(folder / "metrics.csv", found, problems)
        for path in sorted((folder / "texts").rglob("*.md")):
            text = text_of(path, problems)
            if text is not None and path.stem.isdigit():
                tag = path.parent.relative_to(folder / "texts").as_posix()
                found.table(tag, int(path.stem), text)
    return found


def _folders(run: Path, pattern: str) -> list[Path]:
    """Where a logger wrote: in the run folder or two below it, oldest files first."""
    places = [path for depth in ("", "*/", "*/*/") for path in run.glob(f"{depth}{pattern}")]
    return list(dict.fromkeys(path.parent for path in sorted(places)))


def _events(folder: Path, found: Curves) -> None:
    from tensorboard.backend.event_processing import event_accumulator as events

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    sizes = {events.SCALARS: KEPT, events.TENSORS: TEXTS, events.IMAGES: 1, events.HISTOGRAMS: 1}
    reader = events.EventAccumulator(str(folder), sizes)
    reader.Reload()
    tags: Mapping[str, list[str]] = reader.Tags()
    for tag in tags[events.SCALARS]:
        for event in reader.Scalars(tag):
            found.add(tag, event.step, event.value)
            found.began = min(found.began or event.wall_time, event.wall_time)
            found.ended = max(found.ended or event.wall_time, event.wall_time)
    for tag in tags[events.TENSORS]:
        for event in reader.Tensors(tag):
            if tag.endswith(_TEXT) and event.tensor_proto.string_val:
                text = event.tensor_proto.string_val[0].decode("utf-8", "replace")
                found.table(tag.removesuffix(_TEXT), event.step, text)


def _numbers_of_csv(path: Path, found: Curves, problems: list[str]) -> None:
    text = text_of(path, problems)
    for row in csv.DictReader((text or "").splitlines()):
        try:
            step = int(row.get("step") or "")
            numbers = {tag: float(value) for tag, value in row.items() if value and tag}
        except (ValueError, TypeError):
            problems.append(f"{path.name} has a row that is no numbers.")
            return
        for tag, value in numbers.items():
            if tag not in ("step", "epoch"):
                found.add(tag, step, value)
