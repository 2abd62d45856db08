"""Which checkpoint `validate` and `test` measure, and `fit` goes on from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import refused

from lit_distill.__main__ import main
from lit_distill.cli.checkpoints import checkpoint_for
from lit_distill.errors import UserError


def run_with(folder: Path, *names: str) -> Path:
    """A run folder whose checkpoints say no more than a number of updates."""
    (folder / "checkpoints").mkdir(parents=True)
    for updates, name in enumerate(names, 1):
        torch.save({"global_step": updates}, folder / "checkpoints" / f"{name}.ckpt")
    return folder


@pytest.mark.parametrize("command", ["validate", "test"])
def test_the_best_of_the_run_is_measured_and_named(
    command: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_with(tmp_path / "run", "best", "last")
    assert checkpoint_for(command, None, run) == run / "checkpoints/best.ckpt"
    assert f"{run}/checkpoints/best.ckpt, after 1 updates" in caplog.text
    assert checkpoint_for("fit", None, run) is None
    assert checkpoint_for("cache-teacher", None, run) is None


def test_without_a_best_nothing_is_measured_by_itself(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no best .* \(there is none at all\).*--run_dir.*`start`"):
        checkpoint_for("validate", None, tmp_path / "gone")
    run = run_with(tmp_path / "run", "last", "previous")
    with pytest.raises(UserError, match=r"\(there is last.ckpt, previous.ckpt\).*`last`"):
        checkpoint_for("test", None, run)
    assert checkpoint_for("test", "last", run) == run / "checkpoints/previous.ckpt"  # the newer


def test_several_students_have_a_best_each(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", "last", "best-large", "best-small")
    for name in (None, "best"):
        with pytest.raises(UserError, match="--ckpt_path best-large or --ckpt_path best-small"):
            checkpoint_for("validate", name, run)
    with pytest.raises(UserError, match="--ckpt_path best-large or"):
        checkpoint_for("fit", "best", run)
    assert checkpoint_for("validate", "best-small", run) == run / "checkpoints/best-small.ckpt"
    with pytest.raises(UserError, match="there is no checkpoint"):
        checkpoint_for("validate", "../checkpoints/best-small", run)


def test_the_start_is_measured_on_purpose_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoint_for("validate", "start", tmp_path) is None
    assert "before any training" in caplog.text
    with pytest.raises(UserError, match="fit needs none"):
        checkpoint_for("fit", "start", tmp_path)


def test_a_run_is_validated_by_its_configuration_alone(
    folder: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no best checkpoint in runs/exp/checkpoints" in refused(capsys, "test", "-c", "exp.yaml")
    assert not (folder / "runs").exists()
    options = ["-c", "exp.yaml", "--trainer.val_check_interval=1"]
    assert main(["fit", *options]) == 0
    caplog.clear()
    capsys.readouterr()
    assert main(["validate", *options]) == 0
    assert "The best of the run is measured: runs/exp/checkpoints/best.ckpt" in caplog.text
    trained = capsys.readouterr().out
    assert main(["validate", *options, "--ckpt_path=start"]) == 0
    assert capsys.readouterr().out != trained
