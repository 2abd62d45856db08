"""Markdown on one line: what text needs so that nothing in it is read as markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|~])")


def table_row(cells: Iterable[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Text that neither Markdown nor HTML reads as markup, on one line, without outer spaces."""
    line = " ".join(text.split())
    return html.escape(_MARKUP.sub(r"\\\1", line), quote=False)
