"""What `--help` shows first, and that the options of every nested item can be looked up."""

from __future__ import annotations

import inspect
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import refused
from lightning.pytorch import Trainer

import callbacks
import data_modules
from lit_distill import methods
from lit_distill.__main__ import CACHE, TRAINING, main
from lit_distill.cli.parsing.options import OWN, TRAINER

CLASSES = {
    "Source": data_modules.Source,
    "RunCheckpoint": callbacks.RunCheckpoint,
    "MiniLM": methods.MiniLM,
}


def shown(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    capsys.readouterr()
    try:
        code = main(["fit", *args])
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", [*TRAINING, CACHE])
def test_help_is_a_page_that_begins_with_ours(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of `cache-teacher` too, which takes what `fit` takes."""
    assert main([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    for name in ("--model", "--data", "--config", "--help-all", *OWN):
        assert f" {name}" in text.partition("the training loop")[0] + text.partition("look up")[2]
    assert text.index("--tokenizer") < text.index("--trainer.max_steps")


def test_the_trainers_options_of_the_page_are_its_own() -> None:
    assert set(TRAINER) <= set(inspect.signature(Trainer).parameters)


def test_help_of_a_command_answers_in_half_a_second() -> None:
    """Of the process's own time: a busy machine takes longer."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "lit_distill", "fit", "--help"], capture_output=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize("asked", [["--help"], ["fit", "--help"]])
def test_a_reader_that_has_seen_enough_is_no_error(asked: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "lit_distill", *asked]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_all_has_every_option_of_the_trainer(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--help-all")
    for name in {*inspect.signature(Trainer).parameters} - {"default_root_dir"}:
        assert f"--trainer.{name}" in text


@pytest.mark.parametrize(
    ("asked", "every", "name"),
    [
        (["--data=MultilingualCorpus", "--data.sources.help"], "Every item of --data", "Source"),
        (["--trainer.callbacks.help=RunCheckpoint"], "Every item of --tr", "RunCheckpoint"),
        (["--trainer.callbacks.help", "RunCheckpoint"], "Every item of --tr", "RunCheckpoint"),
        (["--model.help=MiniLM"], "--model is a MiniLM", "MiniLM"),
        (
            ["--model.help=lit_distill.methods.hidden_states.minilm.MiniLM"],
            "--model is a MiniLM",
            "MiniLM",
        ),
    ],
)
def test_the_options_of_a_nested_item_are_all_shown(
    asked: list[str], every: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, *asked)
    assert text.startswith(every)
    for option in inspect.signature(CLASSES[name]).parameters:
        if option != "base":
            assert re.search(rf"(?m)^  (--model\.)?{option}\b", text), option


@pytest.mark.parametrize(
    ("asked", "has"),
    [
        ("--data.sources.help", ["is a Source:", "is a ParallelSource:", "is a PromptSource:"]),
        ("--data.mixes.help", ["Every item of --data.mixes of CodeMixedCorpus is a", "  matrix"]),
        ("--data.help", ["  MultilingualCorpus ", "  PromptCorpus "]),
        ("--model.help", ["  TripleLoss ", "  GKD "]),
        ("--model.teacher.help", ["--model.teacher.revision", "dtype {float32,bfloat16,float16}"]),
        ("--model.init_args.teacher.help", ["--model.teacher.revision"]),
        ("--model.students.help", ["Every value of --model.students", "  LayerCopyStudent "]),
        ("--model.ensemble.others.help", ["is a Teacher", "  revision"]),
        ("--model.optimizer.help=AdamW", ["--model.optimizer.weight_decay"]),
        ("--model.temperature.help", ["TripleLoss:\n  --model.temperature TEMP", "default: 2.0"]),
        ("--trainer.callbacks.help", ["  ExportStudent ", "  LearningRateMonitor "]),
        ("--trainer.max_steps.help", ["--trainer.max_steps MAX_STEPS"]),
    ],
)
def test_what_is_not_chosen_is_looked_for_in_all_that_have_it(
    asked: str, has: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, asked)
    for part in has:
        assert part in text
    assert "LightningDataModule" not in text
    assert "--model.optimizer.params" not in text  # which the program gives
    assert "ScoreReport" not in text  # a base


def test_a_config_chooses_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "-c", "exp.yaml", "--data.sources.help")
    assert text.startswith("Every item of --data.sources of MultilingualCorpus is a Source:")
    text = shown(capsys, "-c", "exp.yaml", "--model.student.help")
    assert text.startswith("--model.student of TripleLoss is a LayerCopyStudent:")


def test_the_options_of_a_cache_are_looked_up_like_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["cache-teacher", "--cache.help"])
    assert "--cache.temperature" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("--data.sorces.help", "--data has no option 'sorces'; did you mean 'sources'?"),
        ("--dta.sources.help", "there is --model.help, --data.help, --trainer.help."),
        ("--model.help=TripleLos", "'TripleLos' is no Distillation; did you mean 'TripleLoss'?"),
        ("--model.temperature.x.help", "has no option 'x'; it is a single value."),
    ],
)
def test_what_is_not_there_is_one_line(
    asked: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, "fit", asked)
