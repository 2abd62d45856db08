"""How the student does on code-mixed text: at switch points, and by how much is mixed."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated

import torch
from annotated_types import Interval
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from callbacks.reports.boards import boards
from callbacks.reports.figures import BEFORE, NOW, PALETTE
from lit_distill.batch import TextBatch, row_languages
from lit_distill.errors import UserError
from lit_distill.knobs import check_knobs
from lit_distill.measures import Breakdown, Scores
from lit_distill.training.distillation import Distillation

SWITCHING, MIXING = "switching", "mixing"
PLACES = ("switch_points", "elsewhere")
Grouped = dict[str, dict[str, float]]
"""Losses by mix and group."""


Edge = Annotated[int, Interval(ge=0, le=100)]
"""A code-mixing index at which a level begins."""


class CodeMixing(Callback):
    """Loss at switch points and elsewhere, and by the code-mixing index of the text, per mix.

    A target is at a switch point if its word has another language than the tagged word before it;
    targets whose words have no language tag are in neither group. Only corpora whose words have
    tags are measured so (`batch["target_switched"]`, `batch["mixing"]`); for others nothing is
    written. It runs no model: rows are grouped in the one pass of the validation.

    Scalars: `switch_points_loss`, `elsewhere_loss` and `cmi_<from>_loss`, all under `val/<mix>/`.
    Figures: both losses of each mix; the loss over the code-mixing index.

    Args:
        edges: lower edges of the levels of the code-mixing index, 0 to 100; the last one is open.
    """

    def __init__(self, edges: list[Edge] = [0, 10, 20, 30, 40]) -> None:  # noqa: B006
        check_knobs(CodeMixing, locals())
        if not edges or edges[0] != 0 or edges != sorted({*edges}):
            raise UserError(f"CodeMixing.edges is {edges}: use rising numbers that begin with 0.")
        self.edges = edges

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Asks for the rows to be grouped; the module is told of the start after its callbacks."""
        module = Distillation.of(pl_module)
        languages = module.data_facts.languages
        levels = [f"cmi_{edge}" for edge in self.edges]
        for name, groups, grouping in (
            (SWITCHING, PLACES, _places),
            (MIXING, levels, partial(_levels, edges=self.edges)),
        ):
            names = [f"{language}/{group}" for language in languages for group in groups]
            module.measure.breakdowns[name] = Breakdown(names, grouping)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs, prints and draws; nothing while the Trainer only tries validation out."""
        if trainer.sanity_checking:
            return
        module = Distillation.of(pl_module)
        stage = "test" if trainer.testing else "val"
        for student, measured in module.measurements.items():
            parts = [stage] if len(module.measurements) == 1 else [stage, student]
            at, by = (_by_mix(measured.groups.get(name, {})) for name in (SWITCHING, MIXING))
            if not at and not by:
                continue
            metrics = {
                "/".join([*parts, mix, f"{group}_loss"]): loss
                for table in (at, by)
                for mix, groups in table.items()
                for group, loss in groups.items()
            }
            module.log_dict(metrics, sync_dist=True, rank_zero_only=True)
            if trainer.is_global_zero:
                module.print(_table(" ".join(parts), at, by, self.edges))
                self._draw(trainer, "/".join(parts), at, by)

    on_test_epoch_start = on_validation_epoch_start
    on_test_epoch_end = on_validation_epoch_end

    def _draw(self, trainer: Trainer, prefix: str, at: Grouped, by: Grouped) -> None:
        for board in boards(trainer):
            board.figure(f"{prefix}/switch_points", switch_figure(at), trainer.global_step)
            levels = level_figure(by, self.edges)
            board.figure(f"{prefix}/mixing_levels", levels, trainer.global_step)


def _places(batch: TextBatch) -> Tensor:
    """Twice the language, plus one elsewhere than at a switch point."""
    languages = row_languages(batch)
    if "target_switched" not in batch:
        return torch.full_like(languages, -1)
    switched = batch["target_switched"]
    return torch.where(switched < 0, -1, 2 * languages + (1 - switched))


def _levels(batch: TextBatch, edges: Sequence[int]) -> Tensor:
    """The language and the level of the text's code-mixing index."""
    languages = row_languages(batch)
    if "mixing" not in batch:
        return torch.full_like(languages, -1)
    mixing = batch["mixing"].index_select(0, batch["rows"] // batch["input_ids"].shape[1])
    borders = torch.tensor(edges[1:], device=mixing.device)
    level = torch.bucketize(mixing, borders, right=True)
    return torch.where(mixing < 0, -1, len(edges) * languages + level)


def _by_mix(groups: Mapping[str, Scores]) -> Grouped:
    table: Grouped = {}
    for name, scores in groups.items():
        mix, _, group = name.rpartition("/")
        if (loss := scores.get("loss")) is not None:
            table.setdefault(mix, {})[group] = loss
    return table


def _table(stage: str, at: Grouped, by: Grouped, edges: Sequence[int]) -> str:
    """Losses at switch points, elsewhere and by level, a row per mix, as text."""
    drawn = Table(title=f"{stage}: loss on code-mixed text", box=SIMPLE_HEAD, title_justify="left")
    drawn.add_column("mix", no_wrap=True, min_width=max(map(len, by or at)))
    levels = [f"cmi_{edge}" for edge in edges]
    for title in ("at switches", "elsewhere", *(f"CMI {edge}" for edge in edges)):
        drawn.add_column(title, justify="right")
    for mix in by or at:
        cells = {**at.get(mix, {}), **by.get(mix, {})}
        row = (f"{cells[one]:.3f}" if one in cells else "" for one in (*PLACES, *levels))
        drawn.add_row(mix, *row)
    text = io.StringIO()
    Console(file=text, width=max(80, shutil.get_terminal_size().columns)).print(drawn)
    return text.getvalue().rstrip()


def switch_figure(at: Grouped) -> Figure:
    """Two dots per mix: loss at switch points, and elsewhere."""
    names = sorted(at)
    size = (6.0, 0.4 * max(len(names), 1) + 1.3)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    axis = figure.subplots()
    for place, name in enumerate(names):
        values = [at[name][one] for one in PLACES if one in at[name]]
        axis.hlines(place, min(values), max(values), color=BEFORE, linewidth=1.5)
    for group, colour in zip(PLACES, (PALETTE[1], NOW), strict=True):
        rows = [row for row, name in enumerate(names) if group in at[name]]
        losses = [at[names[row]][group] for row in rows]
        axis.plot(losses, rows, "o", color=colour, label=group.replace("_", " "))
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_title("held-out loss, nats", fontsize=10)
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axis.grid(axis="x", color="#eeeeee")
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure


def level_figure(by: Grouped, edges: Sequence[int]) -> Figure:
    """The loss over the code-mixing index, a line per mix."""
    figure = Figure(figsize=(6.0, 3.6), dpi=100, layout="constrained")
    axis = figure.subplots()
    for number, name in enumerate(sorted(by)):
        there = [edge for edge in edges if f"cmi_{edge}" in by[name]]
        losses = [by[name][f"cmi_{edge}"] for edge in there]
        axis.plot(there, losses, "o-", color=PALETTE[number % len(PALETTE)], label=name)
    axis.set_xticks(edges)
    axis.set_xlabel("code-mixing index of the text, from", fontsize=8)
    axis.set_title("held-out loss, nats", fontsize=10)
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axis.grid(color="#eeeeee")
    axis.spines[["top", "right"]].set_visible(False)
    return figure
