"""How a fit ends: the student is where it says, and what it recommends works."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import transformers

from lit_distill.__main__ import main


def end_of(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """What a fit of the experiment printed."""
    capsys.readouterr()
    assert main(["fit", "-c", "exp.yaml", *args]) == 0
    return capsys.readouterr().out.strip()


def test_a_short_run_is_validated_and_says_what_to_do_next(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An epoch has three updates: nothing but the end validates a run of two."""
    said = end_of(capsys)
    report = json.loads((folder / "runs/exp/report.json").read_text())
    best = report["best"]["students"]["student"]
    assert best["updates"] == 2
    assert set(best["languages"]) == {"de", "en"}
    loss = best["mean"]["loss"]
    first, second, load, measure = said.splitlines()[-4:]
    assert first.startswith("The best student, val/loss ")
    assert first.endswith("after 2 updates, is in runs/exp/student,")
    assert float(first.split()[4]) == pytest.approx(loss, rel=0.2)
    assert second.startswith("the last one in runs/exp/student-last.")
    assert "Scores" in (folder / "runs/exp/student/README.md").read_text()
    assert (folder / "runs/exp/checkpoints/best.ckpt").exists()
    model: Any = eval(load.strip(), {"transformers": transformers})
    assert isinstance(model, transformers.BertForMaskedLM)
    assert main(shlex.split(measure)[3:]) == 0


def test_without_validation_none_is_called_the_best(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = end_of(capsys, "--trainer.limit_val_batches=0")
    assert "The last student is in runs/exp/student; none is the best" in said
    assert "nothing gave val/loss" in said
    assert "best" not in json.loads((folder / "runs/exp/report.json").read_text())
    assert not list((folder / "runs/exp/checkpoints").glob("best*"))


def test_each_student_is_named(
    folder: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = {"class_path": "PretrainedStudent", "init_args": {"name": str(tiny_bert)}}
    students = json.dumps({"large": start, "small": start})
    method = ["--model=MutualLearning", f"--model.students={students}", "--model.student=null"]
    said = end_of(capsys, *method, "--model.teacher=null")
    for name in ("large", "small"):
        assert f"The best student {name}, val/{name}/loss " in said
        assert f"--config runs/exp/config.yaml --ckpt_path best-{name}" in said
        assert (folder / f"runs/exp/student/{name}/config.json").is_file()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["--export_student=false"], "python -m lit_distill export runs/exp"),
        (
            ["--export_student=false", "--trainer.enable_checkpointing=false"],
            "Nothing was saved: --trainer.enable_checkpointing false",
        ),
        (["--trainer.fast_dev_run=true"], "fast_dev_run only tries"),
    ],
)
def test_why_there_is_no_student(
    given: list[str], reason: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = end_of(capsys, *given)
    assert "No student was exported" in said
    assert reason in said
    assert not (folder / "runs/exp/student").exists()
