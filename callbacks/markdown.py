"""Text for TensorBoard's panels: Markdown tables of whatever text there is."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger

_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|~])")


def boards(trainer: Trainer) -> list[TensorBoardLogger]:
    """The loggers that show text and figures."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def table_row(cells: Iterable[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Text that neither Markdown nor HTML reads as markup, on one line, without outer spaces."""
    line = " ".join(text.split())
    return html.escape(_MARKUP.sub(r"\\\1", line), quote=False)
