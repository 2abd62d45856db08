"""Tables of texts that a run wrote in Markdown, taken apart: what is text and what is strong."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from lit_distill.tools.reporting.parts import Cell, Piece, Table

_PARTS = re.compile(r"\\(.)|(\*\*)|([^\\*]+|.)", re.DOTALL)
_BETWEEN = re.compile(r"(?<!\\)\|")
ROWS = 60


def table_of(title: str, markdown: str) -> Table | None:
    """A table as `callbacks.reports.boards` writes it; None where it is none.

    Args:
        title: of it.
        markdown: a heading, a line of dashes, a line for each row.
    """
    lines = [line for line in markdown.splitlines() if line.strip().startswith("|")]
    if len(lines) < 3:
        return None
    heading = ["".join(piece.text for piece in pieces(cell)) for cell in _cells(lines[0])]
    rows: list[Sequence[Cell]] = []
    for line in lines[2 : ROWS + 2]:
        cells = [pieces(cell) for cell in _cells(line)]
        rows.append([*cells, *[()] * (len(heading) - len(cells))][: len(heading)])
    return Table(title, heading, rows, prose=True)


def pieces(cell: str) -> list[Piece]:
    """The text of a cell: escapes undone, two stars begin and end what is strong."""
    found, text, strong = list[Piece](), "", False
    for escaped, stars, plain in _PARTS.findall(cell):
        if stars:
            found.append(Piece(html.unescape(text), strong))
            text, strong = "", not strong
        else:
            text += escaped or plain
    found.append(Piece(html.unescape(text), strong))
    return [piece for piece in found if piece.text]


def _cells(line: str) -> list[str]:
    inner = line.strip()
    inner = inner[1:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner[1:]
    return [cell.strip() for cell in _BETWEEN.split(inner)]
