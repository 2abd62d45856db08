"""Where figures and tables of text go: to every logger that can show them.

TensorBoard has panels for both, Weights & Biases (and any logger with Lightning's `log_image` and
`log_table`) images and tables; a CSV logger gets files in its folder.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from callbacks.reports.markdown import table_row
from lit_distill.files.atomic_files import replacing

_MARKED = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|~])")
_NO_NAME = re.compile(r"""[\x00-\x1f\\:*?"<>|]|^[\s.~-]+""")


class Board(Protocol):
    """One logger, as far as it shows more than numbers."""

    def figure(self, tag: str, figure: Figure, step: int) -> None:
        """Shows a figure under a tag with slashes, as it was after `step` updates."""

    def table(
        self, tag: str, heading: Sequence[str], rows: Sequence[Sequence[str]], step: int
    ) -> None:
        """Shows a table whose cells are Markdown on one line."""


def boards(trainer: Trainer) -> list[Board]:
    """The loggers of a run that show figures and tables."""
    return [board for logger in trainer.loggers if (board := _board(logger)) is not None]


def _board(logger: Logger) -> Board | None:
    if isinstance(logger, TensorBoardLogger):
        return TensorBoard(logger)
    if isinstance(logger, CSVLogger):
        return Folder(Path(logger.log_dir))
    # as Lightning's WandbLogger has them, and what others copied of it
    able = (getattr(logger, name, None) for name in ("log_image", "log_table"))
    return Gallery(logger) if all(map(callable, able)) else None


@dataclass(frozen=True)
class TensorBoard:
    """Panels of images and of text."""

    logger: TensorBoardLogger

    def figure(self, tag: str, figure: Figure, step: int) -> None:
        """See `Board.figure`."""
        self.logger.experiment.add_figure(tag, figure, step)

    def table(
        self, tag: str, heading: Sequence[str], rows: Sequence[Sequence[str]], step: int
    ) -> None:
        """See `Board.table`."""
        self.logger.experiment.add_text(tag, markdown(heading, rows), step)


@dataclass(frozen=True)
class Folder:
    """Files `figures/<tag>/<step>.png` and `texts/<tag>/<step>.md`."""

    path: Path

    def figure(self, tag: str, figure: Figure, step: int) -> None:
        """See `Board.figure`."""
        with replacing(self._file("figures", tag, step, ".png")) as beside:
            figure.savefig(beside, format="png")

    def table(
        self, tag: str, heading: Sequence[str], rows: Sequence[Sequence[str]], step: int
    ) -> None:
        """See `Board.table`."""
        with replacing(self._file("texts", tag, step, ".md")) as beside:
            beside.write_text(f"{markdown(heading, rows)}\n", "utf-8")

    def _file(self, kind: str, tag: str, step: int, ending: str) -> Path:
        """Names of languages come from files: none may lead out of the folder."""
        parts = [_NO_NAME.sub("_", part) or "_" for part in tag.split("/")]
        return self.path.joinpath(kind, *parts, f"{step:08}{ending}")


@dataclass(frozen=True)
class Gallery:
    """Images and tables of a tracker on the web."""

    logger: Any

    def figure(self, tag: str, figure: Figure, step: int) -> None:
        """See `Board.figure`."""
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        self.logger.log_image(tag, [np.asarray(canvas.buffer_rgba())[..., :3]], step)

    def table(
        self, tag: str, heading: Sequence[str], rows: Sequence[Sequence[str]], step: int
    ) -> None:
        """See `Board.table`."""
        data = [[plain(cell) for cell in row] for row in rows]
        self.logger.log_table(tag, columns=list(heading), data=data, step=step)


def markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, a line per row."""
    return "\n".join(table_row(row) for row in (heading, ["---"] * len(heading), *rows))


def plain(cell: str) -> str:
    """What `escaped` was given; marks of bold stay as they are."""
    return _MARKED.sub(r"\1", html.unescape(cell))
