"""From the parts of a page to its HTML and its Markdown, by templates; written whole."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from callbacks.reports.markdown import escaped
from lit_distill.files.atomic_files import replacing
from lit_distill.tools.reporting.drawing import PREFIX
from lit_distill.tools.reporting.parts import Cell, Page

MARK = "made by lit_distill report"
"""In every page: what has it is ours to replace."""


def html_of(page: Page) -> str:
    """One self-contained page: it loads nothing, and runs nothing."""
    environment = _environment(html=True)
    charts = count(1)
    environment.filters["numbered"] = lambda svg: svg.replace(PREFIX, f"chart-{next(charts)}-")
    return environment.get_template("page.html").render(page=page, mark=MARK)


def markdown_of(page: Page, beside: str) -> str:
    """The same words and tables; drawings are in the page.

    Args:
        page: what it says.
        beside: the file name of the page with the drawings.
    """
    environment = _environment(html=False)
    environment.filters |= {"md": escaped, "cell": _cell, "fence": _fence}
    text = environment.get_template("page.md").render(page=page, mark=MARK, beside=beside)
    return text.rstrip() + "\n"


def write(path: Path, page: Page) -> None:
    """Writes the page to `path`, and its Markdown beside it; each is there whole or not at all.

    Args:
        path: of the HTML.
        page: what it says.

    Raises:
        UserError: it could not be written.
    """
    texts = {path: html_of(page), path.with_suffix(".md"): markdown_of(page, path.name)}
    for place, text in texts.items():
        with replacing(place) as beside:
            # half of a letter, which files of anybody may hold, has no bytes
            beside.write_text(text, "utf-8", errors="replace")


def is_ours(path: Path) -> bool:
    """Whether `write` made a file."""
    try:
        return MARK in path.read_text("utf-8", errors="replace")[:2000]
    except OSError:
        return False


def _environment(html: bool) -> Environment:
    return Environment(
        loader=PackageLoader("lit_distill.tools.reporting"),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return escaped(cell)
    return "".join(_strong(piece.text) if piece.strong else _loose(piece.text) for piece in cell)


def _loose(text: str) -> str:
    """Escaped, with the spaces that are between it and its neighbours."""
    before, after = text[:1].isspace(), text[-1:].isspace()
    return f"{' ' * before}{escaped(text)}{' ' * (after and bool(text.strip()))}"


def _strong(text: str) -> str:
    return f"**{escaped(text)}**" if text.strip() else " "


def _fence(text: str) -> str:
    """A fence that no line of a text ends."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(3, longest + 1)
