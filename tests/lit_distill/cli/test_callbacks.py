"""What saves a run is there whatever callbacks a configuration names, unless switched off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import merged

from lit_distill.__main__ import main
from lit_distill.cli.callbacks import SHIPPED

SAVING = {"RunCheckpoint", "RngState", "ExportStudent"}
TRAINERS = Path(__file__).parents[3] / "configs/trainer"


def names(config: dict[str, Any]) -> list[str]:
    """Of the callbacks, without their modules."""
    return [one["class_path"].rpartition(".")[2] for one in config["trainer"]["callbacks"]]


@pytest.mark.parametrize(
    "given", ["[]", "null", "Throughput", "[Throughput]", "[RunCheckpoint, Throughput]"]
)
def test_what_saves_a_run_is_added_to_any_list(
    given: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = merged(capsys, "-c", "exp.yaml", f"--trainer.callbacks={given}")
    assert set(names(config)) == SAVING | ({"Throughput"} if "Throughput" in given else set())
    assert len(names(config)) == len(set(names(config)))


def test_plugins_of_others_are_joined_by_ours(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given, ours in (("null", 1), ("[AtomicCheckpointIO]", 1), ("[TorchCheckpointIO]", 0)):
        config = merged(capsys, "-c", "exp.yaml", f"--trainer.plugins={given}")
        paths = [one["class_path"] for one in config["trainer"]["plugins"]]
        assert len(paths) == 1
        assert sum("AtomicCheckpointIO" in path for path in paths) == ours


def test_saving_is_switched_off_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["-c", "exp.yaml", "--trainer.callbacks=[RunCheckpoint, ExportStudent, Throughput]"]
    off = merged(capsys, *given, "--trainer.enable_checkpointing=false")
    assert names(off) == ["ExportStudent", "Throughput"]
    off = merged(capsys, *given, "--export_student=false")
    assert names(off) == ["RunCheckpoint", "Throughput", "RngState"]
    both = ["--trainer.enable_checkpointing=false", "--export_student=false"]
    assert names(merged(capsys, *given, *both)) == ["Throughput"]


def test_an_own_subclass_takes_the_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "keeping.py").write_text(
        "from callbacks import RunCheckpoint\n\n\nclass Keeping(RunCheckpoint):\n    pass\n"
    )
    given = ["--allow-module=keeping", "--trainer.callbacks=[keeping.Keeping]"]
    found = names(merged(capsys, "-c", "exp.yaml", *given))
    assert sorted(found) == ["ExportStudent", "Keeping", "RngState"]


def test_a_run_without_any_trainer_config_is_saved(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = yaml.safe_load((folder / "exp.yaml").read_text())
    del config["trainer"]
    (folder / "bare.yaml").write_text(yaml.safe_dump(config))
    options = ["--trainer.max_steps=2", "--trainer.log_every_n_steps=1"]
    assert main(["fit", "-c", "bare.yaml", *options]) == 0
    run = folder / "runs/bare"
    assert (run / "student-last/config.json").is_file()
    assert (run / "checkpoints/last.ckpt").is_file()
    (said,) = [r.message for r in caplog.records if "saves the run" in r.message]
    assert "Added, because it saves the run: RunCheckpoint, RngState, ExportStudent" in said
    assert "Without callbacks of configs/trainer: PerLanguage, TeacherAgreement" in said


@pytest.mark.parametrize("path", sorted(TRAINERS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_list_is_that_of_the_shipped_trainers(path: Path) -> None:
    trainer = yaml.safe_load(path.read_text())["trainer"]
    if path.stem != "generation":  # which adds to one of them
        assert tuple(trainer["callbacks"]) == SHIPPED
        assert trainer["plugins"] == ["AtomicCheckpointIO"]
