"""Options of the Trainer that cannot work are one line, before any model is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import refused
from lightning.pytorch import LightningDataModule, Trainer

from data_modules import MultilingualCorpus, Source
from lit_distill.cli.trainer import check_batches, check_trainer, make_trainer
from lit_distill.cli.training import DistillParser
from lit_distill.errors import UserError
from lit_distill.training import building

CORPUS = MultilingualCorpus(sources=[Source(files="x", language="en")], updates_per_epoch=3)

IMPOSSIBLE = [
    ("max_steps", "0"),
    ("max_steps", "-2"),
    ("max_steps", str(10**18)),
    ("max_epochs", "0"),
    ("max_epochs", "-2"),
    ("min_steps", "-1"),
    ("min_epochs", "-1"),
    ("max_time", "soon"),
    ("limit_train_batches", "0"),
    ("limit_train_batches", "0.0"),
    ("limit_train_batches", "-1"),
    ("limit_train_batches", "1.5"),
    ("limit_train_batches", ".nan"),
    ("limit_train_batches", "0.1"),  # of three batches
    ("limit_val_batches", "-1"),
    ("limit_val_batches", "1.5"),
    ("limit_val_batches", ".nan"),
    ("overfit_batches", "1"),
    ("overfit_batches", "0.5"),
    ("overfit_batches", "-1"),
    ("val_check_interval", "0"),
    ("val_check_interval", "0.0"),
    ("val_check_interval", "-1"),
    ("val_check_interval", "1.5"),
    ("val_check_interval", ".nan"),
    ("val_check_interval", "4"),  # an epoch has 3
    ("val_check_interval", "soon"),
    ("check_val_every_n_epoch", "0"),
    ("check_val_every_n_epoch", "-1"),
    ("num_sanity_val_steps", "-2"),
    ("log_every_n_steps", "0"),
    ("log_every_n_steps", "-1"),
    ("accumulate_grad_batches", "0"),
    ("accumulate_grad_batches", "-1"),
    ("gradient_clip_val", "-1"),
    ("gradient_clip_val", ".nan"),
    ("gradient_clip_val", ".inf"),
    ("gradient_clip_algorithm", "hard"),
    ("devices", "0"),
    ("devices", "-1"),
    ("devices", "-2"),
    ("devices", "two"),
    ("devices", "[]"),
    ("devices", "[0, 1]"),
    ("devices", "'0'"),
    ("num_nodes", "0"),
    ("precision", "12"),
    ("precision", "bf17-mixed"),
    ("accelerator", "abacus"),
    ("strategy", "alone"),
    ("profiler", "guess"),
    ("fast_dev_run", "-1"),
    ("reload_dataloaders_every_n_epochs", "-1"),
]


@pytest.fixture(scope="module")
def parser() -> DistillParser:
    """Of the Trainer's options alone: that of a whole command takes half a second to make."""
    made = DistillParser(prog="test")
    made.add_lightning_class_args(Trainer, "trainer")
    return made


def check(trainer: Any, parser: DistillParser) -> None:
    check_trainer("fit", trainer, parser.where)
    check_batches(trainer, CORPUS)
    make_trainer(lambda: Trainer(**trainer))


@pytest.mark.parametrize(("option", "value"), IMPOSSIBLE)
def test_what_cannot_work_is_one_line(
    option: str, value: str, parser: DistillParser, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = ["--trainer.accelerator=cpu", "--trainer.max_steps=2", "--trainer.logger=false"]
    try:
        config = parser.parse_args([*fixed, f"--trainer.{option}={value}"])
    except SystemExit:
        said = capsys.readouterr().err
    else:
        with pytest.raises(UserError) as refusal:
            check(config["trainer"], parser)
        said = str(refusal.value)
    assert option in said or (option == "max_time" and "duration" in said)
    assert value.strip("'").lstrip(".") in said or option == "profiler"
    assert said.strip().count("\n") == 0


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*args: Any) -> Any:
        raise AssertionError("models were built")

    monkeypatch.setattr(building, "build_models", build)


@pytest.mark.usefixtures("no_models")
@pytest.mark.parametrize(
    "given", ["max_steps=0", "val_check_interval=4", "devices=two", "overfit_batches=1"]
)
def test_it_is_said_before_models_are_built(
    given: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "fit", "-c", "exp.yaml", f"--trainer.{given}")
    assert given.partition("=")[0] in said
    assert not (folder / "runs").exists()


def test_the_place_in_a_file_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "own.yaml").write_text("trainer:\n  log_every_n_steps: 0\n")
    assert refused(capsys, "fit", "-c", "exp.yaml", "-c", "own.yaml") == (
        "own.yaml:2: trainer.log_every_n_steps: 0 cannot work: use a whole number of at least 1; "
        "--trainer.logger false logs nothing."
    )


@pytest.mark.usefixtures("no_models")
def test_a_run_without_an_end_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endless = ["fit", "-c", "exp.yaml", "--trainer.max_steps=-1"]
    assert "The run has no end" in refused(capsys, *endless)
    assert "The run has no end" in refused(
        capsys, *endless, "--trainer.max_epochs=null", "--trainer.max_time=00:01:00:00"
    )


@pytest.mark.parametrize(("command", "stage"), [("validate", "val"), ("test", "test")])
def test_a_measurement_of_nothing_is_refused(
    command: str, stage: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    option = f"--trainer.limit_{stage}_batches=0"
    assert f"limit_{stage}_batches: 0 cannot work" in refused(
        capsys, command, "-c", "exp.yaml", option
    )


@pytest.mark.parametrize(
    "given",
    [
        {"max_steps": -1, "max_epochs": 2},
        {"val_check_interval": 3},
        {"val_check_interval": 100, "check_val_every_n_epoch": None},
        {"val_check_interval": 6, "accumulate_grad_batches": 2},
        {"val_check_interval": 100, "limit_val_batches": 0},
        {"val_check_interval": {"minutes": 5}},
        {"gradient_clip_val": 0},
        {"devices": "1"},
        {"devices": "auto"},
        {"limit_train_batches": 0.5, "val_check_interval": 1},
        {"accelerator": "gpu", "devices": -1},
        {"accelerator": "gpu", "devices": "0,1"},
    ],
)
def test_what_can_work_is_taken(given: dict[str, Any], parser: DistillParser) -> None:
    config = parser.parse_args(["--trainer.accelerator=cpu", "--trainer.max_steps=2"])
    trainer = {**config["trainer"], **given}
    check_trainer("fit", trainer, parser.where)
    check_batches(trainer, CORPUS)


@pytest.mark.parametrize(("limit", "batches"), [(1, 1), (3, 3), (0.5, 3)])
def test_an_epoch_does_not_end_inside_an_update(
    limit: float, batches: int, parser: DistillParser
) -> None:
    """The loss of such an update would be divided by counts of batches that never came."""
    config = parser.parse_args(["--trainer.accumulate_grad_batches=2", "--trainer.max_steps=2"])
    config["trainer"]["limit_train_batches"] = limit
    with pytest.raises(UserError, match=f"leaves {batches} batches of an epoch.* takes 2"):
        check_batches(config["trainer"], CORPUS)


def test_data_modules_of_others_are_not_asked_how_long_an_epoch_is() -> None:
    config = {"overfit_batches": 1, "val_check_interval": 9, "check_val_every_n_epoch": 1}
    check_batches(
        {**config, "limit_train_batches": None, "accumulate_grad_batches": 1}, LightningDataModule()
    )
