"""`null` and other values, wherever the option that takes them lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lit_distill.__main__ import main


def parsed(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    """The configuration that a fit would have."""
    with pytest.raises(SystemExit):
        main(["fit", "--config", "exp.yaml", *args, "--print_config"])
    config: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return config


NESTED = [
    ("model.teacher.revision", ("model", "init_args", "teacher", "revision")),
    ("model.execution.compile", ("model", "init_args", "execution", "compile")),
    ("model.student.num_layers", ("model", "init_args", "student", "init_args", "num_layers")),
    ("model.teacher_cache", ("model", "init_args", "teacher_cache")),
    ("data.tokenizer", ("data", "init_args", "tokenizer")),
    ("trainer.gradient_clip_val", ("trainer", "gradient_clip_val")),
]


@pytest.mark.parametrize("written", ["null", "~"])
def test_null_is_nothing(written: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = parsed(capsys, *(f"--{option}={written}" for option, _ in NESTED))
    for option, path in NESTED:
        found: Any = config
        for key in path:
            found = found[key]
        assert found is None, option


def test_null_is_nothing_in_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "more.yaml").write_text("model: {init_args: {teacher: {revision: null}}}")
    found = parsed(capsys, "--config", "more.yaml")
    assert found["model"]["init_args"]["teacher"]["revision"] is None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--model.teacher.dtype=null"], "null is no value of TeacherSpec's option 'dtype'"),
        (["--data.sources=[{files: a, column: null}]"], "null is no value of Source's option"),
        (["--data.tokenizer=None"], "--data.tokenizer: 'None' is a text: write null"),
        (["--config=more.yaml"], "more.yaml:3: model.teacher.revision: 'None' is a text"),
    ],
)
def test_what_is_not_null(
    args: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "more.yaml").write_text("model:\n  init_args:\n    teacher: {revision: None}\n")
    code: Any = None
    try:
        code = main(["fit", "--config", "exp.yaml", *args, "--print_config"])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("layers", [[0, 3], [1]])
def test_other_values_arrive_as_they_are(
    layers: list[int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = parsed(capsys, f"--model.student.layers={layers}", "--model.teacher.name=a 'b' \\d")
    assert found["model"]["init_args"]["student"]["init_args"]["layers"] == layers
    assert found["model"]["init_args"]["teacher"]["name"] == "a 'b' \\d"
