"""Figures and tables reach every logger that can show them, with the same content."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks import CodeMixing, MaskedSamples, PerLanguage, TeacherAgreement, Throughput
from callbacks.reports.boards import Folder, Gallery, markdown, plain
from callbacks.reports.markdown import escaped
from callbacks.watching.hyperparameters import flat, log_hyperparameters
from lit_distill.measures import LanguageModelMeasure

Fit = Callable[..., tuple[Trainer, Any]]

WATCHING = (PerLanguage, TeacherAgreement, MaskedSamples, CodeMixing, Throughput)
FIGURES = {
    "val/loss_by_language": [8, 16],
    "val/loss_history": [16],
    "val/agreement_by_language": [8, 16],
    "val/kl_by_language": [8, 16],
}


class Tracker(Logger):
    """Takes what Lightning's WandbLogger takes, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.images: dict[str, list[tuple[int, Any]]] = {}
        self.tables: dict[str, list[tuple[int, list[str], list[list[str]]]]] = {}
        self.metrics: dict[str, float] = {}
        self.params: dict[str, Any] = {}

    name, version = "tracker", "0"  # type: ignore[assignment]

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.metrics |= metrics

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.params |= params

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kw: Any) -> None:
        assert isinstance(images, list)
        self.images.setdefault(key, []).append((step or 0, images[0]))

    def log_table(
        self,
        key: str,
        columns: list[str] | None = None,
        data: list[list[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        self.tables.setdefault(key, []).append((step or 0, columns or [], data or []))


def test_every_logger_gets_what_tensorboard_gets(fit: Fit, tmp_path: Path) -> None:
    tracker, table = Tracker(), CSVLogger(tmp_path, name="csv", version="")
    board = TensorBoardLogger(tmp_path, name="tensorboard", version="")
    watching = [callback() for callback in WATCHING]
    fit(*watching, logger=[board, table, tracker], taught=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    drawn = {tag: [e.step for e in events.Images(tag)] for tag in events.Tags()["images"]}
    assert drawn == FIGURES

    assert {tag: [step for step, _ in own] for tag, own in tracker.images.items()} == FIGURES
    image = tracker.images["val/loss_by_language"][0][1]
    assert (image.dtype, image.shape[2]) == (np.uint8, 3)
    assert np.unique(image).size > 10  # it is not blank
    (_, heading, rows), _ = tracker.tables["val/samples"]
    assert heading == ["language", "text", "student", "teacher"]
    assert sorted(row[0] for row in rows) == ["xx", "yy"]

    files = {
        path.relative_to(tmp_path / "csv").as_posix() for path in (tmp_path / "csv").rglob("*.png")
    }
    assert files == {
        f"figures/{tag}/{step:08}.png" for tag, steps in FIGURES.items() for step in steps
    }
    text = (tmp_path / "csv/texts/val/samples/00000008.md").read_text("utf-8")
    assert text.startswith("| language | text | student | teacher |\n| --- | --- | --- | --- |\n")
    assert [plain(line) for line in text.splitlines()[2:]] == [f"| {' | '.join(r)} |" for r in rows]


@pytest.mark.parametrize("logger", [False, True])
def test_no_logger_and_lightnings_default_one_are_fine(
    logger: bool, fit: Fit, tmp_path: Path
) -> None:
    _, module = fit(*(callback() for callback in WATCHING), logger=logger, taught=True)
    assert module.measurements["student"].languages
    assert (tmp_path / "lightning_logs").exists() is logger


def test_accuracy_and_the_teachers_loss_are_logged_per_language(fit: Fit, tmp_path: Path) -> None:
    _, module = fit(
        PerLanguage(), TeacherAgreement(), taught=True, logger=CSVLogger(tmp_path, "csv", "")
    )
    with (tmp_path / "csv/metrics.csv").open() as file:
        last = {k: float(v) for row in csv.DictReader(file) for k, v in row.items() if v}
    scores = module.measurements["student"].languages
    for key in ("accuracy", "teacher_loss"):
        values = [score[key] for score in scores.values()]
        assert last[f"val/{key}"] == pytest.approx(math.fsum(values) / len(values))
        for language, value in zip(scores, values, strict=True):
            assert last[f"val/{language}/{key}"] == pytest.approx(value)


def test_no_language_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "logs")
    for language in ("../../up", "/root", "a\\b:c", "..", "~x", "hi-en", "বাংলা"):
        folder.table(f"val/{language}/x", ["a"], [["b"]], 1)
        folder.figure(f"val/{language}/x", Figure(), 1)
    made = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) == 14
    assert all(path.parts[0] == "logs" for path in made)
    assert all(part[0] not in ".~" for path in made for part in path.parts)
    assert (tmp_path / "logs/texts/val/বাংলা/x/00000001.md").exists()


def test_trackers_read_text_without_marks_of_markdown() -> None:
    tracker = Tracker()
    given = r"a*b_<i>&amp; \n | [x](y) 3.5 + 4 - 2!"
    Gallery(tracker).table("t", ["h"], [[escaped(given)]], 3)
    assert tracker.tables == {"t": [(3, ["h"], [[given]])]}
    assert markdown(["h"], [["c"]]) == "| h |\n| --- |\n| c |"


CONFIG = """
seed_everything: 1
config: [a.yaml]
model:
  class_path: lit_distill.methods.TripleLoss
  init_args:
    temperature: 2.0
    teacher: {name: t, revision: null}
    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.001, betas: [0.9, 0.98]}}
trainer: {max_steps: 5, callbacks: [{class_path: PerLanguage}], logger: {class_path: X}}
"""
FLAT = {
    "seed_everything": 1,
    "model": "TripleLoss",
    "model.temperature": 2.0,
    "model.teacher.name": "t",
    "model.optimizer": "AdamW",
    "model.optimizer.lr": 0.001,
    "model.optimizer.betas": "[0.9, 0.98]",
    "trainer.max_steps": 5,
}


def test_a_configuration_is_flat_values() -> None:
    assert flat(CONFIG) == FLAT


def test_hyperparameters_reach_every_logger_and_no_value_is_made_up(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path, name="tensorboard", version="")
    table, tracker = CSVLogger(tmp_path, "csv", ""), Tracker()
    trainer = Trainer(logger=[board, table, tracker], accelerator="cpu", enable_progress_bar=False)
    log_hyperparameters(trainer, CONFIG, ["student"], LanguageModelMeasure.metrics)
    board.experiment.flush()
    table.save()
    assert tracker.params == FLAT
    assert "model.optimizer.lr: 0.001" in (tmp_path / "csv/hparams.yaml").read_text()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == []
    found = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    for name in FLAT:
        assert name.encode() in found
    shown = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    for name in (b"val/loss", b"val/accuracy", b"val/agreement", b"val/kl"):
        assert name in shown
    assert b"val/perplexity" not in shown
