"""What reports of a validation share: one table, scalars by language, figures."""

from __future__ import annotations

import io
import math
import shutil
from abc import abstractmethod
from collections.abc import Sequence

from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from callbacks.reports.boards import boards
from callbacks.reports.figures import dots
from lit_distill.knobs import Count, check_knobs
from lit_distill.measures import Measurement, MetricSpec, Scores
from lit_distill.training.distillation import Distillation


class ScoreReport(Callback):
    """Publishes metrics of `module.measurements` after each validation and test; runs no model.

    Scalars go to all loggers, figures to those that show some. Where there are several reports, the
    first one in `trainer.callbacks` prints one table with the columns of all of them.

    Args:
        rows: the longest table that is printed; of more languages, the worst ones by the leading
            metric. Scalars and figures always show all.
    """

    def __init__(self, rows: Count = 40) -> None:
        check_knobs(ScoreReport, locals())
        self.rows = rows

    @abstractmethod
    def shows(self, metric: MetricSpec) -> bool:
        """Whether a metric of the method's measure belongs to this report."""

    def figures(
        self, student: str, measured: Measurement, metrics: Sequence[MetricSpec], step: int
    ) -> dict[str, Figure]:
        """Figures of one student, by the last part of their tag.

        Args:
            student: its name.
            measured: what was measured of it.
            metrics: those of the report.
            step: the updates before.
        """
        del student, step
        shown = {}
        for metric in metrics:
            values = by_language(measured, metric)
            if metric.figure and values:
                shown[f"{metric.name}_by_language"] = dots(metric.figure, values)
        return shown

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs, prints and draws; nothing while the Trainer only tries validation out."""
        if trainer.sanity_checking:
            return
        module = Distillation.of(pl_module)
        stage = "test" if trainer.testing else "val"
        metrics = [metric for metric in module.measure.metrics if self.shows(metric)]
        for student, measured in module.measurements.items():
            if not measured.mean:
                continue
            parts = [stage] if len(module.measurements) == 1 else [stage, student]
            self._log(module, measured, metrics, "/".join(parts))
            if trainer.is_global_zero:
                self._print(trainer, module, measured, " ".join(parts))
                if shown := boards(trainer):
                    step = trainer.global_step
                    for name, figure in self.figures(student, measured, metrics, step).items():
                        for board in shown:
                            board.figure("/".join([*parts, name]), figure, step)

    on_test_epoch_end = on_validation_epoch_end

    def _log(
        self,
        module: Distillation,
        measured: Measurement,
        metrics: Sequence[MetricSpec],
        prefix: str,
    ) -> None:
        logged = {}
        for metric in metrics:
            for language, value in by_language(measured, metric).items():
                logged[f"{prefix}/{language}/{metric.name}"] = value
            mean = measured.mean.get(metric.name)
            if mean is not None and metric.log_mean and not metric.monitored:
                logged[f"{prefix}/{metric.name}"] = mean
        # Equal on all ranks: the first flag avoids a warning, the second the reduction.
        module.log_dict(logged, sync_dist=True, rank_zero_only=True)

    def _print(
        self, trainer: Trainer, module: Distillation, measured: Measurement, stage: str
    ) -> None:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        reports = [callback for callback in callbacks if isinstance(callback, ScoreReport)]
        if reports[0] is self:
            metrics = module.measure.metrics
            columns = [m for report in reports for m in metrics if report.shows(m)]
            fitting = trainer.state.fn == "fit"  # otherwise nobody counted them
            title = f"{stage} after {trainer.global_step} updates" if fitting else stage
            module.print(table(title, measured, columns, metrics[0], self.rows))


def by_language(measured: Measurement, metric: MetricSpec) -> dict[str, float]:
    """The values of a metric, where it was measured."""
    found = {name: scores.get(metric.name) for name, scores in measured.languages.items()}
    return {name: value for name, value in found.items() if value is not None}


def table(
    title: str, measured: Measurement, columns: Sequence[MetricSpec], leading: MetricSpec, rows: int
) -> str:
    """Languages, the worst first, and their mean, as text; columns without numbers are left out.

    Args:
        title: above the table.
        measured: of one student.
        columns: what to show.
        leading: what decides which language is worse.
        rows: languages at most.
    """
    mean, languages = measured.mean, measured.languages
    shown = [column for column in columns if mean.get(column.name) is not None]
    drawn = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    drawn.add_column("language")
    for column in shown:
        drawn.add_column(column.label, justify="right", no_wrap=True)
    worst = sorted(languages.items(), key=lambda item: _goodness(item[1], leading))
    for language, scores in worst[:rows]:
        drawn.add_row(language, *(_number(scores.get(column.name)) for column in shown))
    drawn.add_section()
    if hidden := max(len(languages) - rows, 0):
        drawn.add_row(f"({hidden} more)", *("" for _ in shown))
    last = f"mean of {len(languages)}" if languages else "all text"
    drawn.add_row(last, *(_number(mean.get(column.name)) for column in shown))
    text = io.StringIO()
    Console(file=text, width=max(80, shutil.get_terminal_size().columns)).print(drawn)
    return text.getvalue().rstrip()


def _goodness(scores: Scores, metric: MetricSpec) -> float:
    value = scores.get(metric.name)
    if value is None:
        return math.inf
    return -value if metric.smaller_is_better else value


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"
