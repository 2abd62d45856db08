"""What is logged, printed and drawn after a validation."""

from __future__ import annotations

import csv
import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import callbacks.reports.per_language
from callbacks import PerLanguage, RunCheckpoint, TeacherAgreement
from callbacks.reports.score_report import table
from lit_distill.measures import Measurement, MetricSpec

Fit = Callable[..., tuple[Trainer, Any]]

LOSS = MetricSpec("loss", "loss")


def board(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    return events


def test_scalars_and_figures_arrive(fit: Fit, tmp_path: Path) -> None:
    loggers = [
        TensorBoardLogger(tmp_path, name="tensorboard", version=""),
        CSVLogger(tmp_path, name="csv", version=""),
    ]
    _, module = fit(PerLanguage(), TeacherAgreement(), logger=loggers, taught=True)
    expected = {}
    scores = module.measurements["student"].languages
    names = ("loss", "perplexity", "agreement", "kl", "accuracy", "teacher_loss")
    for language in ("xx", "yy"):
        expected |= {f"val/{language}/{name}": scores[language][name] for name in names}
    for name in ("agreement", "kl", "accuracy", "teacher_loss"):
        expected[f"val/{name}"] = sum(s[name] for s in scores.values()) / 2
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        last = {k: float(v) for row in csv.DictReader(file) for k, v in row.items() if v}
    events = board(tmp_path)
    for key, value in expected.items():
        assert last[key] == pytest.approx(value, rel=1e-5)
        assert [e.step for e in events.Scalars(key)] == [7, 15]
    figures = {
        "val/loss_by_language": [8, 16],
        "val/loss_history": [16],  # a history has at least two points
        "val/agreement_by_language": [8, 16],
        "val/kl_by_language": [8, 16],
    }
    assert {tag: [e.step for e in events.Images(tag)] for tag in events.Tags()["images"]} == figures


@pytest.mark.parametrize("logger", ["none", "csv"])
def test_other_loggers_do_not_crash_on_figures(fit: Fit, tmp_path: Path, logger: str) -> None:
    fit(PerLanguage(), TeacherAgreement(), logger=CSVLogger(tmp_path) if logger == "csv" else False)


def test_reports_share_one_table(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    fit(PerLanguage(), TeacherAgreement(), taught=True, max_epochs=1)
    printed = capsys.readouterr().out
    assert printed.count("val after 8 updates") == 1
    (heading,) = [line for line in printed.splitlines() if "language" in line]
    columns = ["language", "loss", "perplexity", "accuracy", "agreement", "KL", "teacher loss"]
    assert heading.split("  ")[0] == ""
    assert [part.strip() for part in heading.split("  ") if part.strip()] == columns
    assert "mean of 2" in printed


def test_without_a_teacher_agreement_is_left_out(
    fit: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer, _ = fit(PerLanguage(), TeacherAgreement(), max_epochs=1)
    assert "agreement" not in capsys.readouterr().out
    assert not [key for key in trainer.callback_metrics if "agreement" in key or "kl" in key]
    fit(TeacherAgreement(), logger=True, max_epochs=1)


def test_nothing_happens_while_the_trainer_tries_validation_out(
    fit: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(PerLanguage(), num_sanity_val_steps=-1, limit_train_batches=2, max_epochs=1)
    printed = capsys.readouterr().out
    assert printed.count("val after") == 1
    assert "val after 0" not in printed


def test_figures_are_freed(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Figure]] = []
    real = callbacks.reports.per_language.dots

    def dots(*arguments: Any) -> Figure:
        figure = real(*arguments)
        made.append(weakref.ref(figure))
        return figure

    monkeypatch.setattr(callbacks.reports.per_language, "dots", dots)
    fit(PerLanguage(), logger=TensorBoardLogger(tmp_path, name="tensorboard", version=""))
    gc.collect()
    assert [figure() for figure in made] == [None, None]
    assert not plt.get_fignums()


def test_the_history_survives_a_resume(fit: Fit, tmp_path: Path) -> None:
    options = {"logger": TensorBoardLogger(tmp_path, name="tensorboard", version="")}
    fit(PerLanguage(), RunCheckpoint(), max_epochs=1, **options)
    resumed = PerLanguage()
    last = tmp_path / "checkpoints" / "last.ckpt"
    fit(resumed, RunCheckpoint(), max_epochs=2, ckpt_path=last, **options)
    assert list(resumed.state_dict()["history"]["student"]) == [8, 16]


def test_a_long_table_shows_the_worst_and_counts_the_rest() -> None:
    scores = {f"l{n:03d}": {"loss": float(n)} for n in range(104)}
    lines = table("title", Measurement.by_language(scores), [LOSS], LOSS, rows=3).splitlines()
    assert [line.split()[0] for line in lines if line.strip().startswith("l0")] == []
    assert [line.split()[0] for line in lines if line.strip().startswith("l1")] == [
        "l103",
        "l102",
        "l101",
    ]
    assert any("(101 more)" in line for line in lines)
    assert lines[-1].split() == ["mean", "of", "104", "51.500"]


def test_the_worst_language_is_that_of_the_smallest_accuracy() -> None:
    accuracy = MetricSpec("accuracy", "accuracy", smaller_is_better=False)
    measured = Measurement.by_language({"a": {"accuracy": 0.9}, "b": {"accuracy": 0.1}})
    lines = table("title", measured, [accuracy], accuracy, rows=1).splitlines()
    assert any(line.split() == ["b", "0.100"] for line in lines)
    assert not any(line.split()[:1] == ["a"] for line in lines)
