"""What reports of a validation share: one table, scalars by language, figures."""

from __future__ import annotations

import io
import shutil
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from callbacks.reports.boards import boards
from lit_distill.knobs import Count, check_knobs
from lit_distill.measures.language_model import Measured, Scores, mean_over_languages


@dataclass(frozen=True)
class Column:
    """One number per language.

    Attributes:
        title: its heading in the table.
        value: reads it from scores; None where it was not measured.
        key: of the metric `val/<language>/<key>`; None: only in the table.
        log_mean: log `val/<key>` as well, the mean over languages.
    """

    title: str
    value: Callable[[Scores], float | None]
    key: str | None = None
    log_mean: bool = False


class ScoreReport(Callback):
    """Publishes columns of `module.measurements` after each validation and test; runs no model.

    Scalars go to all loggers, figures to those that show some. Where there are several reports, the
    first one in `trainer.callbacks` prints one table with the columns of all of them.

    Args:
        rows: the longest table that is printed; of more languages, those with the highest loss.
            Scalars and figures always show all.
    """

    columns: ClassVar[tuple[Column, ...]]

    def __init__(self, rows: Count = 40) -> None:
        check_knobs(ScoreReport, locals())
        self.rows = rows

    @abstractmethod
    def figures(self, student: str, scores: dict[str, Scores], step: int) -> dict[str, Figure]:
        """Figures of one student's scores after `step` updates, by the last part of their tag."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs, prints and draws; nothing while the Trainer only tries validation out."""
        if trainer.sanity_checking:
            return
        module = cast(Measured, pl_module)
        stage = "test" if trainer.testing else "val"
        measured = module.measurements  # on every rank: the sums are added over ranks
        for student, scores in measured.items():
            if not scores:
                continue
            parts = [] if len(measured) == 1 else [student]
            self._log(module, scores, "/".join([stage, *parts]))
            if trainer.is_global_zero:
                self._print(trainer, module, scores, " ".join([stage, *parts]))
                self._draw(trainer, student, scores, "/".join([stage, *parts]))

    on_test_epoch_end = on_validation_epoch_end

    def _log(self, module: Measured, scores: dict[str, Scores], prefix: str) -> None:
        metrics = {}
        for column in self.columns:
            means = {"": average(scores)} if column.log_mean else {}
            for language, score in {**scores, **means}.items():
                value = column.value(score)
                if column.key is not None and value is not None:
                    path = [prefix, language, column.key] if language else [prefix, column.key]
                    metrics["/".join(path)] = value
        # Equal on all ranks: the first flag avoids a warning, the second the reduction.
        module.log_dict(metrics, sync_dist=True, rank_zero_only=True)

    def _print(
        self, trainer: Trainer, module: Measured, scores: dict[str, Scores], stage: str
    ) -> None:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        reports = [callback for callback in callbacks if isinstance(callback, ScoreReport)]
        if reports[0] is self:
            columns = [column for report in reports for column in report.columns]
            fitting = trainer.state.fn == "fit"  # otherwise nobody counted them
            title = f"{stage} after {trainer.global_step} updates" if fitting else stage
            module.print(table(title, scores, columns, self.rows))

    def _draw(self, trainer: Trainer, student: str, scores: dict[str, Scores], prefix: str) -> None:
        if shown := boards(trainer):
            step = trainer.global_step
            for name, figure in self.figures(student, scores, step).items():
                for board in shown:
                    board.figure(f"{prefix}/{name}", figure, step)


def average(scores: Mapping[str, Scores]) -> Scores:
    """Means over languages, each counting the same; perplexity is that of the mean loss."""
    loss, accuracy, *taught = (
        mean_over_languages(dict(scores), name)
        for name in ("loss", "accuracy", "teacher_loss", "kl", "agreement")
    )
    rows = sum(score.rows for score in scores.values())
    return Scores(rows, cast(float, loss), cast(float, accuracy), *taught)


def table(title: str, scores: dict[str, Scores], columns: Sequence[Column], rows: int) -> str:
    """Languages by falling loss, and their mean, as text; columns without numbers are left out.

    Args:
        title: above the table.
        scores: by language.
        columns: what to show.
        rows: languages at most.
    """
    mean = average(scores)
    shown = [column for column in columns if column.value(mean) is not None]
    hidden = max(len(scores) - rows, 0)
    drawn = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    drawn.add_column("language")
    for column in shown:
        drawn.add_column(column.title, justify="right", no_wrap=True)
    by_loss = sorted(scores.items(), key=lambda item: -item[1].loss)
    for language, score in by_loss[:rows]:
        drawn.add_row(language, *(_number(column.value(score)) for column in shown))
    drawn.add_section()
    if hidden:
        drawn.add_row(f"({hidden} more)", *("" for _ in shown))
    drawn.add_row(f"mean of {len(scores)}", *(_number(column.value(mean)) for column in shown))
    text = io.StringIO()
    Console(file=text, width=max(80, shutil.get_terminal_size().columns)).print(drawn)
    return text.getvalue().rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"
