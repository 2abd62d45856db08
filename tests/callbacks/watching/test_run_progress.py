"""How far the run is: a bar in a terminal, lines elsewhere."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer
from rich.console import Console

from callbacks import RunCheckpoint, RunProgress

Fit = Callable[..., tuple[Trainer, Any]]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal is sent."""
    sent = io.StringIO()

    def terminal(stderr: bool) -> Console:
        assert stderr, "standard output is for results"
        return Console(file=sent, force_terminal=True, color_system=None, width=150)

    monkeypatch.setattr("callbacks.watching.run_progress.Console", terminal)
    return sent


def test_the_bar_counts_updates_of_the_whole_run(fit: Fit, screen: io.StringIO) -> None:
    _, module = fit(RunProgress(), accumulate=2, enable_progress_bar=True)  # 2 epochs of 4 updates
    shown = screen.getvalue()
    assert "training" in shown
    assert "8/8" in shown
    assert "9/" not in shown
    assert f"loss {module.logged['loss']:.4g}" in shown


def test_a_resumed_run_starts_where_it_was(fit: Fit, screen: io.StringIO, tmp_path: Path) -> None:
    fit(RunProgress(), RunCheckpoint(), max_epochs=1, enable_progress_bar=True)
    screen.truncate(0)
    last = tmp_path / "checkpoints" / "last.ckpt"
    fit(RunProgress(), RunCheckpoint(), max_epochs=2, ckpt_path=last, enable_progress_bar=True)
    assert "16/16" in screen.getvalue()
    assert " 0/16" not in screen.getvalue()


def test_training_is_shown_after_validation_was_tried_out(fit: Fit, screen: io.StringIO) -> None:
    fit(RunProgress(), enable_progress_bar=True, num_sanity_val_steps=1)
    *_, last, _ = screen.getvalue().splitlines()
    assert "16/16" in last
    assert "validation" not in last


def test_a_validation_alone_has_its_bar(fit: Fit, screen: io.StringIO) -> None:
    trainer, module = fit(RunProgress(), enable_progress_bar=True, max_epochs=1)
    screen.truncate(0)
    trainer.validate(module, datamodule=module.data, verbose=False)
    assert "validation" in screen.getvalue()
    assert "2/2" in screen.getvalue()
    assert "training" not in screen.getvalue()


def test_without_a_terminal_lines_are_written_now_and_then(
    fit: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    _, module = fit(RunProgress(seconds=0), max_epochs=1, enable_progress_bar=True)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("update")]
    assert len(lines) == 8
    assert lines[-1].startswith(f"update 8 of 8 · mlm {module.logged['mlm']:.4g}")
    assert lines[-1].endswith("updates/s · 0 min left")
    fit(RunProgress(), max_epochs=1, enable_progress_bar=True)
    assert "update 8" not in capsys.readouterr().err


def test_a_bar_that_is_switched_off_is_silent(
    fit: Fit, screen: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = RunProgress(seconds=0)
    bar.disable()
    fit(bar, max_epochs=1, enable_progress_bar=True)
    assert screen.getvalue() == ""
    assert "update 8" not in capsys.readouterr().err
