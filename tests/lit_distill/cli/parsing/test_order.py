"""The order of files and options: what is typed holds, and a part before its class says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import merged, refused

from lit_distill.cli.parsing.order import files_first


@pytest.fixture(autouse=True)
def parts(folder: Path) -> None:
    """`exp.yaml` and parts of a model that name no class."""
    Path("hot.yaml").write_text("model: {init_args: {temperature: 9}}\n")
    Path("long.yaml").write_text("trainer: {max_steps: 1000}\n")
    Path("wrong.yaml").write_text("include: [hot.yaml, exp.yaml]\n")


def test_what_is_typed_before_a_file_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """It gave way to the file in silence."""
    typed = ["--trainer.max_steps=7", "--model.temperature", "5", "--data.max_length=9"]
    config = merged(capsys, *typed, "-c", "exp.yaml", "--config=long.yaml")
    assert config["trainer"]["max_steps"] == 7
    assert config["model"]["init_args"]["temperature"] == 5
    assert config["data"]["init_args"]["max_length"] == 9


def test_a_class_that_is_typed_takes_options_of_files(capsys: pytest.CaptureFixture[str]) -> None:
    teacher, data = "--model.teacher.name=t", "--data=PhrasebookCorpus"
    for typed in (["--model=TripleLoss"], ["--model", "TripleLoss"]):
        for args in ([*typed, "-c", "hot.yaml"], ["-c", "hot.yaml", *typed]):
            config = merged(capsys, *args, teacher, data)
            assert config["model"]["init_args"]["temperature"] == 9
    config = merged(capsys, "--model=MiniLMv2", "-c", "exp.yaml")
    assert config["model"]["class_path"].endswith(".MiniLMv2")


def test_options_keep_their_own_order() -> None:
    typed = ["--a=1", "-c", "x", "--a", "2", "--model=M", "--config", "y", "--b+=3"]
    behind = ["--a=1", "--a", "2", "--model=M", "--b+=3"]
    assert files_first(typed) == ["--model=M", "-c", "x", "--config", "y", *behind]
    assert files_first(["-c"]) == ["-c"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["-c", "hot.yaml", "-c", "exp.yaml"],
            "hot.yaml:1: model: its class is named by exp.yaml, which comes later: give that",
        ),
        (["-c", "wrong.yaml"], "hot.yaml:1: model: its class is named by exp.yaml, which comes"),
        (["-c", "hot.yaml"], "hot.yaml:1: model: expected a Distillation, given by class_path"),
        (["--model.temperature=3"], "no class is named for model: give --model CLASS; there is"),
        (
            ["--data.max_length=3", "--model=MaskedLM"],
            "--data.max_length: no class is named for data: give --data CLASS.",
        ),
    ],
)
def test_options_without_their_class_say_what_is_missing(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, "fit", *args)
