"""What a page is made of; the templates know these parts and nothing of runs.

Texts in them come from files of runs and are nobody's markup: the templates escape them all. Only
`Chart.svg` is taken as it is, and `drawing` alone makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup


@dataclass(frozen=True)
class Piece:
    """A stretch of a cell's text, strong or not."""

    text: str
    strong: bool = False


Cell = str | Sequence[Piece]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Facts:
    """Names and what stands for them."""

    pairs: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Table:
    """Rows below a heading, the first column of each names it.

    Attributes:
        title: above it.
        heading: as many as cells in a row.
        rows: of text.
        prose: whether the cells are sentences, and no numbers.
    """

    title: str
    heading: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    prose: bool = False
    kind: ClassVar[str] = "table"

    @property
    def numeric(self) -> list[bool]:
        """Whether a column holds numbers, which stand below each other by their last digit."""
        columns = zip(*self.rows, strict=True) if self.rows else ([] for _ in self.heading)
        return [
            not self.prose and place > 0 and all(map(_begins_as_number, column))
            for place, column in enumerate(columns)
        ]


@dataclass(frozen=True)
class Chart:
    """A drawing, whose numbers stand in a table near it.

    Attributes:
        title: above it.
        svg: the element itself.
    """

    title: str
    svg: Markup
    kind: ClassVar[str] = "chart"


@dataclass(frozen=True)
class Charts:
    """Drawings side by side where there is room."""

    charts: Sequence[Chart]
    kind: ClassVar[str] = "charts"


@dataclass(frozen=True)
class Code:
    """A text as it stands in a file, folded away.

    Attributes:
        title: what is clicked on.
        text: of the file.
    """

    title: str
    text: str
    kind: ClassVar[str] = "code"


Block = Text | Facts | Table | Charts | Code


@dataclass(frozen=True)
class Section:
    """Blocks under a title.

    Attributes:
        title: of it.
        blocks: in order; a section without any is not shown.
        inner: sections in it.
        folded: whether it opens by a click: one of many.
    """

    title: str
    blocks: Sequence[Block] = ()
    inner: Sequence[Section] = ()
    folded: bool = False


@dataclass(frozen=True)
class Page:
    """All of a report.

    Attributes:
        title: of it.
        lead: what was distilled from what, a sentence for each run.
        sections: in order.
        warnings: what a reader should know before believing a number.
    """

    title: str
    lead: Sequence[str]
    sections: Sequence[Section]
    warnings: Sequence[str] = field(default_factory=list)


def _begins_as_number(cell: Cell) -> bool:
    return isinstance(cell, str) and (not cell or cell.lstrip("+-")[:1].isdigit())


def number(value: object, digits: int = 4) -> str:
    """A number as tables show it; nothing for what is none.

    Args:
        value: of a file: anything.
        digits: that count.
    """
    known = finite(value)
    if known is None:
        return ""
    return f"{known:,.0f}" if known == int(known) and abs(known) < 1e15 else f"{known:.{digits}g}"


LARGEST = 1e100
"""Beyond it sums and squares of a chart's axis overflow; nothing that is measured is."""


def finite(value: object) -> float | None:
    """A finite number of a file, of a size that can be drawn; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        known = float(value)
    except OverflowError:
        return None
    return known if abs(known) < LARGEST else None
