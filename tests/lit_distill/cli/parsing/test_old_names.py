"""Names of earlier versions are answered with the new one, and nothing else is."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from inspect import isabstract
from pathlib import Path

import pytest
import yaml
from command_line import refused
from jsonargparse._util import get_import_path  # what a dump writes
from lightning.pytorch import Callback, LightningDataModule

import data_modules
import lit_distill.losses
import lit_distill.methods
import lit_distill.models
import lit_distill.schedules
from lit_distill.cli.parsing import modules
from lit_distill.cli.parsing.old_names import CLASSES, OPTIONS, PACKAGES, new_class, new_option
from lit_distill.training.distillation import Distillation

PLACES = {
    "CarvedStudent": "model.student",
    "Plain": "data.objective",
    "RetokenisedStudent": "model.student",
    "Teacher": "model.teacher",
}
"""Where a config names each class of `CLASSES`."""
PACKAGE = {"data": "data_modules", "model": "lit_distill.models"}


def nested(path: str, value: object) -> str:
    """One line of YAML in which options of the sections stand under `init_args`."""
    section, option = path.split(".")
    return json.dumps({section: {"init_args": {option: value}}})


def public(path: str) -> list[type]:
    found = [one for one in vars(importlib.import_module(path)).values() if isinstance(one, type)]
    ours = [one for one in found if one.__module__.split(".")[0] in modules.OURS]
    return [one for one in ours if not issubclass(one, Exception)]


PUBLIC = [(package, one) for package in PACKAGES for one in public(package)]


@pytest.mark.parametrize(("package", "kind"), PUBLIC, ids=str)
def test_a_dump_names_public_classes_by_their_package(package: str, kind: type) -> None:
    """So that a file can move without breaking a config that a run has written."""
    homes = [one for one in PACKAGES if kind in public(one)]  # a loss's knobs may be a schedule's
    path = get_import_path(kind)
    assert path is not None
    assert path.rpartition(".") in [(home, ".", kind.__name__) for home in homes]


ROOTS = (
    Distillation,
    LightningDataModule,
    Callback,
    data_modules.Objective,
    data_modules.Rendering,
    data_modules.Sampler,
    lit_distill.losses.Divergence,
    lit_distill.losses.HardTargetLoss,
    lit_distill.models.Student,
    lit_distill.schedules.Schedule,
)
"""Of what a config names a class."""
NOT_CHOSEN = {"Responses", "Labels", "ScoreReport", "GenerationReport", "SaveConfig"}
"""What a data module or the command line brings along, and bases that no metaclass calls so."""


def heirs(root: type) -> Iterator[type]:
    for one in root.__subclasses__():
        yield one
        yield from heirs(one)


def test_every_class_that_a_config_can_name_is_public() -> None:
    for package in ("lit_distill.methods", "lit_distill.losses", "lit_distill.models", "callbacks"):
        path = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(path, f"{package}."):
            importlib.import_module(module.name)
    public = {kind for _, kind in PUBLIC}
    ours = {one for root in ROOTS for one in heirs(root) if one.__module__.startswith(PACKAGES)}
    hidden = {one for one in ours - public if not isabstract(one) and one.__name__[0] != "_"}
    assert {one.__name__ for one in hidden} <= NOT_CHOSEN


# -- what is told --------------------------------------------------------------------------------


@pytest.mark.parametrize("old", CLASSES)
@pytest.mark.parametrize("dotted", [False, True])
def test_an_old_class_in_a_file(
    old: str, dotted: bool, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, new = PLACES[old], CLASSES[old]
    package = f"{PACKAGE[place.split('.')[0]]}." if dotted else ""
    (folder / "old.yaml").write_text(nested(place, {"class_path": f"{package}{old}"}) + "\n")
    said = refused(capsys, "fit", "-c", "exp.yaml", "-c", "old.yaml")
    assert said == f"old.yaml:1: {place}.class_path: {package}{old} is now {package}{new}."


@pytest.mark.parametrize("old", CLASSES)
def test_an_old_class_on_the_command_line(
    old: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, answer = PLACES[old], f"{old} is now {CLASSES[old]}."
    for typed in (f"--{place}={old}", f"--{place}.class_path={old}"):
        assert refused(capsys, "fit", "-c", "exp.yaml", typed) == f"--{place}: {answer}"
    node = json.dumps({"class_path": old})
    assert refused(capsys, "fit", "-c", "exp.yaml", f"--{place}={node}").endswith(answer)


@pytest.mark.parametrize(("owner", "old"), OPTIONS)
def test_an_old_option(
    owner: str, old: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = f"{old} is now {OPTIONS[owner, old]}."
    (folder / "old.yaml").write_text(nested(f"model.{old}", 1) + "\n")
    said = refused(capsys, "fit", "-c", "exp.yaml", "-c", "old.yaml")
    assert said == f"old.yaml:1: model.{old}: {answer}"
    for typed in (f"--model.{old}=1", f"--model.init_args.{old}=1"):
        said = refused(capsys, "fit", "-c", "exp.yaml", typed)
        assert said.startswith("--model.")
        assert said.endswith(f": {answer}")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (nested("model.students", {"a": {"class_path": "CarvedStudent"}}), "CarvedStudent is now "),
        (
            nested("model.student", {"class_path": "lit_distill.models.carving.CarvedStudent"}),
            "lit_distill.models.carving.CarvedStudent is now lit_distill.models.LayerCopyStudent.",
        ),
        (
            '{"model": {"class_path": "lit_distill.methods.triple_loss.TripleLoss"}}',
            "lit_distill.methods.triple_loss.TripleLoss is now lit_distill.methods.TripleLoss.",
        ),
        (
            "trainer: {callbacks: [{class_path: callbacks.export_student.ExportStudent}]}",
            "callbacks.export_student.ExportStudent is now callbacks.ExportStudent.",
        ),
    ],
)
def test_classes_at_any_depth_and_in_files_that_have_moved(
    text: str, answer: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "old.yaml").write_text(f"{text}\n")
    said = refused(capsys, "fit", "-c", "exp.yaml", "-c", "old.yaml")
    assert said.startswith("old.yaml:1: ")
    assert answer in said


def test_help_about_an_old_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "fit", "--model.student.help=CarvedStudent")
    assert said == "--model.student.help: CarvedStudent is now LayerCopyStudent."


# -- what is left alone --------------------------------------------------------------------------

OWN = """
from data_modules import NoTargets
from lit_distill.methods import MaskedLM
from lit_distill.losses import Weight

class Plain(NoTargets):
    "A class of somebody's own, called as one of ours was."

class OwnMethod(MaskedLM):
    "A method with an option that is called as one of `TripleLoss` was."
    def __init__(self, alpha_ce: Weight = 1.0, **base) -> None:
        super().__init__(**base)
"""


@pytest.mark.rotated(3)  # processes of their own
def test_classes_and_options_of_a_user_keep_their_names(tmp_path: Path) -> None:
    """In a process of its own, or other tests would find these classes."""
    (tmp_path / "own_names.py").write_text(OWN)
    typed = "fit --allow-module=own_names --model=OwnMethod --model.alpha_ce=2 --print_config"
    data = "--data=PhrasebookCorpus --data.objective=Plain"
    environment = {**os.environ, "PYTHONPATH": str(Path(modules.__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-m", "lit_distill", *typed.split(), *data.split()],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load(done.stdout)
    assert config["model"]["class_path"] == "own_names.OwnMethod"
    assert config["model"]["init_args"]["alpha_ce"] == 2
    assert config["data"]["init_args"]["objective"]["class_path"] == "own_names.Plain"


@pytest.mark.parametrize(
    ("name", "root"),
    [
        ("Plain", Callback),  # it was an objective
        ("somebody.Plain", data_modules.Objective),
        ("NoTargets", data_modules.Objective),  # it is called so
        ("lit_distill.models.LayerCopyStudent", lit_distill.models.Student),
        ("Carved", lit_distill.models.Student),
    ],
)
def test_other_names_have_no_new_one(name: str, root: type) -> None:
    assert new_class(name, [root]) == ""


def test_options_of_other_classes_have_no_new_one() -> None:
    assert new_option(lit_distill.models.LayerCopyStudent, "alpha_ce") == ""
    assert new_option(None, "alpha_ce") == ""
    assert new_option(lit_distill.methods.TripleLoss, "alpha_ce") == "alpha_kd"


def test_the_table_names_what_there_is() -> None:
    for old, new in CLASSES.items():
        assert [kind for _, kind in PUBLIC if kind.__name__ == new]
        assert not [kind for _, kind in PUBLIC if kind.__name__ == old]
