"""fit, validate, test: what reaches the run, and what is written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import merged

from lit_distill.__main__ import main
from lit_distill.training import building
from lit_distill.training.checkpoints import KEY

# -- settings ------------------------------------------------------------------------------------


def test_includes_apply_in_order_and_own_keys_last(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "hot.yaml").write_text("model: {init_args: {temperature: 4, alpha_kd: 7}}\n")
    (folder / "top.yaml").write_text(
        "include: [exp.yaml, hot.yaml]\nmodel: {init_args: {temperature: 9}}\n"
    )
    config = merged(capsys, "-c", "top.yaml", "--trainer.max_steps", "3")
    assert config["model"]["init_args"]["temperature"] == 9
    assert config["model"]["init_args"]["alpha_kd"] == 7
    assert config["trainer"]["max_steps"] == 3
    assert config["seed_everything"] == 1
    assert config["run_dir"] == "runs/top"


def test_a_list_in_a_later_file_replaces_the_earlier_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """jsonargparse alone merges lists of the same length, item by item."""
    source = "data: {init_args: {sources: [{language: LANGUAGE, files: FILE}]}}\n"
    first = source.replace("FILE}", "a.jsonl, column: body}").replace("LANGUAGE", "en")
    (folder / "first.yaml").write_text(first)
    (folder / "second.yaml").write_text(
        source.replace("FILE", "b.txt").replace("LANGUAGE", "de")
        + "trainer: {callbacks: [PerLanguage, RunCheckpoint]}\n"
    )
    config = merged(capsys, "-c", "exp.yaml", "-c", "first.yaml", "-c", "second.yaml")
    (source,) = config["data"]["init_args"]["sources"]
    assert (source["language"], source["files"], source["column"]) == ("de", "b.txt", "text")
    _, checkpoints, *_ = config["trainer"]["callbacks"]
    assert checkpoints["init_args"]["every_n_updates"] != 1


def test_the_tokenizer_is_the_pretrained_students_or_else_the_teachers(
    folder: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert merged(capsys, "-c", "exp.yaml")["tokenizer"] == str(tiny_bert)
    student = ["--model.student", "PretrainedStudent", "--model.student.name", "s"]
    assert merged(capsys, "-c", "exp.yaml", *student)["tokenizer"] == "s"
    assert merged(capsys, "-c", "exp.yaml", *student, "--tokenizer=t")["tokenizer"] == "t"
    assert merged(capsys, "-c", "exp.yaml", "--data.tokenizer=t")["tokenizer"] == "t"
    pinned = [*student, "--model.student.revision=v1"]
    assert merged(capsys, "-c", "exp.yaml", *pinned)["tokenizer"] == "s@v1"
    named = (
        '--model.students={"one": {"class_path": "PretrainedStudent", "init_args": {"name": "n"}}}'
    )
    assert merged(capsys, "-c", "exp.yaml", named)["tokenizer"] == "n"
    elsewhere = "--model.teacher.tokenizer=e"
    assert merged(capsys, "-c", "exp.yaml", elsewhere)["tokenizer"] == "e"


def test_a_run_folder_given_to_the_trainer_is_the_run_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = merged(capsys, "-c", "exp.yaml", "--trainer.default_root_dir=here")
    assert config["run_dir"] == "here"


@pytest.mark.parametrize(
    ("files", "options", "name"),
    [
        (["cpu", "exp"], [], "exp"),  # what names method and data
        (["all"], [], "all"),
        (["exp", "text"], [], "exp"),
        (["cpu", "method", "text"], [], "triple_loss-text"),
        (["cpu", "method", "text"], ["--model=MaskedLM"], "masked_lm-text"),
        (["cpu", "method"], ["--data=PhrasebookCorpus"], "triple_loss-phrasebook"),
    ],
)
def test_a_run_is_named_after_method_and_data(
    files: list[str],
    options: list[str],
    name: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    experiment = yaml.safe_load((folder / "exp.yaml").read_text())
    for file, key in (("cpu", "trainer"), ("method", "model"), ("text", "data")):
        (folder / f"{file}.yaml").write_text(yaml.safe_dump({key: experiment[key]}))
    (folder / "all.yaml").write_text("include: [cpu.yaml, method.yaml, text.yaml]\n")
    configs = [text for file in files for text in ("-c", f"{file}.yaml")]
    assert merged(capsys, *configs, *options)["run_dir"] == f"runs/{name}"


# -- runs ----------------------------------------------------------------------------------------


def test_a_run_writes_its_folder_and_goes_on_from_it(
    folder: Path, tiny_bert: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["fit", "-c", "exp.yaml"]) == 0
    run = folder / "runs/exp"
    assert (run / "cache").is_dir()  # {run_dir} was filled in
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["run_dir"] == "runs/exp"
    assert config["data"]["init_args"]["cache_dir"] == "{run_dir}/cache"
    last = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 2
    assert yaml.safe_load(last[KEY]["config"]) == config
    assert last[KEY]["teachers"]["teacher"]["name"] == str(tiny_bert)

    saved = ["-c", "runs/exp/config.yaml"]
    caplog.clear()
    changed = ["--trainer.max_steps=3", "--model.temperature=9"]
    assert main(["fit", *saved, "--ckpt_path=last", *changed]) == 0
    (report,) = [r.message for r in caplog.records if "another configuration" in r.message]
    assert report.splitlines()[1:] == [
        "  trainer.max_steps: 2 -> 3",
        "  model.init_args.temperature: 2.0 -> 9.0",
    ]
    last = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 3
    # what was typed is what ran
    now = yaml.safe_load(last[KEY]["config"])
    assert (now["model"]["init_args"]["temperature"], now["ckpt_path"]) == (9.0, None)

    path = run / "checkpoints/last.ckpt"
    path.write_bytes(path.read_bytes()[:2000])
    caplog.clear()
    assert main(["validate", *saved, "--ckpt_path=last", *changed]) == 0
    assert any(
        "last.ckpt cannot be read" in r.message and "Going on from" in r.message
        for r in caplog.records
    )


def test_another_method_is_not_replaced_by_the_checkpoints(
    folder: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor mixed with its state."""
    assert main(["fit", "-c", "exp.yaml"]) == 0
    caplog.clear()
    again = ["-c", "runs/exp/config.yaml", "--ckpt_path=last", "--trainer.max_steps=3"]
    assert main(["fit", *again, "--model=MaskedLM"]) == 2
    assert any("TripleLoss' -> 'lit_distill.methods.MaskedLM'" in r.message for r in caplog.records)
    assert "trained by TripleLoss and the run is configured for MaskedLM" in capsys.readouterr().err
    last = torch.load(folder / "runs/exp/checkpoints/last.ckpt", weights_only=True)
    assert (last[KEY]["method"], last["global_step"]) == ("TripleLoss", 2)
    assert main(["validate", *again[:3], "--model=MaskedLM"]) == 0


def test_a_student_without_its_teacher_can_be_validated(
    folder: Path, tiny_bert: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["fit", "-c", "exp.yaml"]) == 0
    gone = "--model.teacher.name=./gone"
    for more in ([f"--tokenizer={tiny_bert}"], []):
        caplog.clear()
        assert main(["validate", "-c", "exp.yaml", "--ckpt_path=last", gone, *more]) == 0
        assert any("Agreement is left out" in r.message for r in caplog.records)
        own = any("The tokenizer comes from the checkpoint" in r.message for r in caplog.records)
        assert own is not bool(more)


def test_a_finished_run_is_not_written_over(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["fit", "-c", "exp.yaml"]) == 0
    before = (folder / "runs/exp/config.yaml").read_text()
    capsys.readouterr()

    def build(*_: Any) -> Any:
        raise AssertionError("models were built")

    monkeypatch.setattr(building, "build_models", build)
    assert main(["fit", "-c", "exp.yaml", "--model.temperature=5"]) == 2
    assert "holds the checkpoints of an earlier run" in capsys.readouterr().err
    shutil.rmtree(folder / "runs/exp/checkpoints")  # or it was run without any
    assert main(["fit", "-c", "exp.yaml", "--model.temperature=5"]) == 2
    assert "holds the students of an earlier run" in capsys.readouterr().err
    assert (folder / "runs/exp/config.yaml").read_text() == before


def test_a_folder_that_is_not_ours_is_found_before_models_are_built(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: Any) -> Any:
        raise AssertionError("models were built")

    monkeypatch.setattr(building, "build_models", build)
    (folder / "runs/exp/student").mkdir(parents=True)
    (folder / "runs/exp/checkpoints").mkdir()
    (folder / "runs/exp/student/thesis.txt").write_text("mine")
    assert main(["fit", "-c", "exp.yaml"]) == 2
    assert "holds what this command did not write: thesis.txt" in capsys.readouterr().err


def test_a_run_says_what_its_paths_are_relative_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["fit", "-c", "exp.yaml"]) == 0
    config = folder / "runs/exp/config.yaml"
    first = config.read_text().splitlines()[0]
    assert first == f"# Relative paths are relative to {folder}"
    (folder / "other").mkdir()
    monkeypatch.chdir(folder / "other")
    caplog.clear()
    assert main(["validate", "-c", str(config)]) == 2  # there is no such run
    assert f"was written in {folder}, to which its relative paths" in caplog.text
    assert main(["validate", "-c", str(config), f"--run_dir={folder}/runs/exp"]) == 0
