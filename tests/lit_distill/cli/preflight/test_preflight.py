"""`fit` says before its first step what can be seen without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit_distill.__main__ import main


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ["--model.optimizer.lr", "0.05"],
            "warning, learning rate: The highest learning rate is 0.05",
        ),
        (["--model.student.num_layers", "4"], "warning, size: student has"),
        ([], ""),
    ],
)
def test_fit_says_it_once_and_goes_on(
    more: list[str], said: str, tiny_bert: Path, tiny_corpus: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    parts = ("trainer/cpu", "methods/triple_loss", "models/half", "optimizers/small_model")
    parts = (*parts, "data/multilingual_folder", str(tiny_corpus))
    args = [arg for part in parts for arg in ("-c", part)]
    args += ["--model.teacher.name", str(tiny_bert), "--run_dir", str(tmp_path / "run")]
    args += ["--trainer.max_steps", "2", "--trainer.val_check_interval", "2"]
    assert (
        main(["fit", *args, "--trainer.logger", "false", "--export_student", "false", *more]) == 0
    )
    found = [one.getMessage() for one in caplog.records if one.getMessage().startswith("warning, ")]
    assert len(found) == bool(said)
    assert all(said in one for one in found)
