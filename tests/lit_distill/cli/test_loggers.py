"""Runs of the command line with other loggers than TensorBoard's, and with none."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from command_line import refused
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lit_distill.__main__ import main

ALL = Path(__file__).parents[3] / "configs/trainer/cpu.yaml"


@pytest.fixture
def watched(folder: Path) -> list[str]:
    """Options of a short run with every callback of `configs/trainer/cpu.yaml` and a test split."""
    config = yaml.safe_load(Path("exp.yaml").read_text())
    config["trainer"]["callbacks"] = yaml.safe_load(ALL.read_text())["trainer"]["callbacks"]
    config["trainer"] |= {"val_check_interval": 1, "enable_progress_bar": True}
    for source in config["data"]["init_args"]["sources"]:
        source["test"] = [f"{folder}/{source['language']}.txt"]
        Path(*source["test"]).write_text("the cats run\nder fluss liegt dort\n")
    Path("exp.yaml").write_text(yaml.safe_dump(config))
    return ["-c", "exp.yaml"]


def test_no_logger_at_all(watched: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """`LearningRateMonitor` alone would refuse to run."""
    none = "--trainer.logger=false"
    assert main(["fit", *watched, none]) == 0
    assert "There is no logger: LearningRateMonitor is left out." in caplog.messages
    for command in ("validate", "test"):
        assert main([command, *watched, none, "--ckpt_path=last"]) == 0
    assert "LearningRateMonitor" in Path("runs/exp/config.yaml").read_text()  # as it was given


@pytest.mark.skipif(find_spec("wandb") is not None, reason="is about its absence")
def test_a_logger_that_is_not_installed_is_one_line(
    watched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Requirement 'wandb" in refused(capsys, "fit", *watched, "--trainer.logger=WandbLogger")


def test_a_table_of_numbers_with_files_beside_it(watched: list[str]) -> None:
    logger = ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir={run_dir}"]
    assert main(["fit", *watched, *logger, "--trainer.logger.name=csv"]) == 0
    made = Path("runs/exp/csv/version_0")
    assert "model.temperature: 2.0" in (made / "hparams.yaml").read_text()
    assert "val/en/teacher_loss" in (made / "metrics.csv").read_text()
    assert list((made / "figures/val/loss_by_language").glob("*.png"))
    assert list((made / "texts/val/samples").glob("*.md"))


def test_hyperparameters_of_a_run_are_in_tensorboard(watched: list[str]) -> None:
    logger = ["--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir={run_dir}",
              "--trainer.logger.name=", "--trainer.logger.version=tensorboard"]  # fmt: skip
    assert main(["fit", *watched, *logger, "--model.temperature=3"]) == 0
    events = EventAccumulator("runs/exp/tensorboard")
    events.Reload()
    found = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"model.temperature" in found
    assert b"TripleLoss" in found
    assert {"val/accuracy", "val/teacher_loss", "val/en/accuracy"} <= {*events.Tags()["scalars"]}
