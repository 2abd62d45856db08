"""`new-method`: what it writes keeps the rules of the house, and lacks nothing but a formula."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import yaml
from command_line import refused
from planting import OURS, planter

from lit_distill.__main__ import main
from lit_distill.tools.scaffolding import new_method as module
from lit_distill.tools.scaffolding.families import FAMILIES, FamilyName, Method
from lit_distill.tools.scaffolding.new_method import new_method

ROOT = Path(__file__).parents[4]
COPIED = (*OURS, "configs", "tests", "docs/methods", "README.md", "pyproject.toml")
BIN = Path(sys.executable).parent
NAMES = {
    "logits": "SoftKL",
    "hidden_states": "LongNameOfAMethodOfStates",
    "generated_text": "WrittenKL",
    "peers": "PeersOfThree",
    "labels": "TaughtLabels",
    "embeddings": "TaughtVectors",
    "pretraining": "Cloze",
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a folder of its own, with a new method of every family."""
    folder = tmp_path_factory.mktemp("project")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    for family, name in NAMES.items():
        paper = "Soft targets (Hinton et al., 2015)" if family == "logits" else ""
        options = [f"--paper={paper}", "--url=https://arxiv.org/abs/1503.02531"] if paper else []
        typed(folder, name, f"--family={family}", *options)
    return folder


def typed(folder: Path, *args: str) -> None:
    """Runs the command as one types it in a checkout."""
    command = [sys.executable, "-m", "lit_distill", "new-method", *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "README.md" in done.stdout


@pytest.fixture(scope="module")
def copied(copy: Path) -> Callable[[str], tuple[int, str]]:
    """Runs tests on the copy."""
    with planter(copy) as running:
        yield running.run  # type: ignore[misc]


def test_every_family_has_its_files() -> None:
    folders = {path.name for path in (ROOT / "lit_distill/methods").iterdir() if path.is_dir()}
    offered = set(get_args(FamilyName))
    assert offered == set(FAMILIES) == set(NAMES) == folders - {"__pycache__"}


def test_what_is_written_keeps_the_rules_of_the_house(
    copied: Callable[[str], tuple[int, str]],
) -> None:
    code, said = copied("tests/test_house.py -k method")
    assert code == 0, said


def test_ruff_finds_nothing(copy: Path) -> None:
    if not (BIN / "ruff").exists():
        pytest.skip("ruff comes with the extra `dev`")
    folders = ["lit_distill/methods", "tests/lit_distill/methods"]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [BIN / "ruff", *command, "--no-cache", *folders],
            cwd=copy, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


@pytest.mark.rotated(5)
def test_mypy_finds_nothing(copy: Path) -> None:
    if not (BIN / "mypy").exists():
        pytest.skip("mypy comes with the extra `dev`")
    done = subprocess.run(
        [BIN / "mypy"], cwd=copy, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.run  # in a process that is not timed
@pytest.mark.parametrize("name", NAMES.values())
def test_its_own_test_fails_for_want_of_the_formula(
    name: str, copied: Callable[[str], tuple[int, str]]
) -> None:
    stem = Method(name, "logits").stem
    code, said = copied(f"tests/lit_distill/methods/test_{stem}.py")
    assert code == 1
    assert f"UserError: write losses(): {name} has no formula yet." in said


FORMULA = {
    "lit_distill/methods/logits/soft_kl.py": {
        "from lit_distill.errors import UserError\n": "",
        "import AccumulationWindow,": "import AccumulationWindow, ForwardKL, LogitTerm,",
        "import Distillation\n": """\
import Distillation
from lit_distill.training.logit_terms import logit_terms
""",
        '        raise UserError("write losses(): SoftKL has no formula yet.")\n': """\
        student, teacher = self.student.encode(batch), self.teach(batch)
        terms = {"kd": LogitTerm(ForwardKL(self.temperature), "rows")}
        rows, targets = batch["rows"], batch["targets"]
        return logit_terms(self.student, terms, window, rows, targets, student, teacher)
""",
    },
    "tests/lit_distill/methods/test_soft_kl.py": {
        '    raise NotImplementedError("write formula(): SoftKL has no formula yet.")\n': """\
    inputs = {key: BATCH[key] for key in ("input_ids", "attention_mask")}
    student, teacher = (
        model(**inputs).logits.flatten(0, 1)[BATCH["rows"]].softmax(-1) for model in models
    )
    return float((teacher * (teacher / student).log()).sum()) / len(student)
""",
    },
}
"""Forward KL, in ten lines of method and test."""


@pytest.mark.rotated(5)  # the contract takes half a minute
def test_with_ten_lines_of_formula_the_contract_is_kept(
    copy: Path, copied: Callable[[str], tuple[int, str]]
) -> None:
    code, said = copied("tests/test_every_method.py -k soft_kl-bert")
    assert code == 1
    assert "UserError: write losses(): SoftKL has no formula yet." in said
    for path, changes in FORMULA.items():
        text = (copy / path).read_text("utf-8")
        for old, new in changes.items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        (copy / path).write_text(text, "utf-8")
    tests = "tests/lit_distill/methods/test_soft_kl.py tests/test_every_method.py"
    code, said = copied(f"{tests} -k soft_kl")
    assert code == 0, said


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stem"),
    [("SoftKL", "soft_kl"), ("KLSoft", "kl_soft"), ("GKD", "gkd"), ("Alm2", "alm2")],
)
def test_files_are_called_as_the_class(name: str, stem: str) -> None:
    assert Method(name, "logits").stem == stem
    assert stem.replace("_", "") == name.lower()  # as tests/test_house.py asks for


REFUSED = {
    "3KD": "'3KD' is no name of a class",
    "Méthode": "no name of a class",
    "Soft!": "no name of a class",
    "--name=": "'' is no name of a class",
    "TripleLoss": "there is a class TripleLoss already",
    "tripleloss": "there is a class TripleLoss already",
    "forward-kl": "there is a class ForwardKL already",
    "Import": "would be the module 'import'",
    "A" * 31: "has 31 letters: use at most 30",
    "Random": "would be the module 'random'",
}


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_cannot_be_are_refused_and_nothing_is_written(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "new-method", name, f"--own={tmp_path}")
    assert said.startswith("new-method: ")
    assert REFUSED[name] in said
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "soft_kl.yaml").write_text("mine")
    assert "soft_kl.yaml already" in refused(capsys, "new-method", "SoftKL", f"--own={tmp_path}")
    assert [path.name for path in tmp_path.iterdir()] == ["soft_kl.yaml"]
    assert (tmp_path / "soft_kl.yaml").read_text() == "mine"


def test_a_paper_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for paper in ('a """quote"""', "a | column", "long " * 20):
        said = refused(capsys, "new-method", "SoftKL", f"--paper={paper}", f"--own={tmp_path}")
        assert "--paper is one line" in said


def test_an_unknown_family_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "new-method", "SoftKL", "--family=logit")
    assert said.startswith("--family: expected logits or ")


# -- a user's own --------------------------------------------------------------------------------


@pytest.mark.rotated(6)
@pytest.mark.parametrize("family", ["logits", "peers"])
def test_one_of_ones_own_lies_where_one_says(
    family: FamilyName, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = new_method("SoftKL", family, own=str(tmp_path / "mine"))
    assert written == [tmp_path / "mine/soft_kl.py", tmp_path / "mine/soft_kl.yaml"]
    assert "--allow-module soft_kl" in capsys.readouterr().out
    config = yaml.safe_load(written[1].read_text())
    assert config["model"]["class_path"] == "soft_kl.SoftKL"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "lit_distill", "fit", "--allow-module=soft_kl"]
    done = subprocess.run(
        [*command, "-csoft_kl.yaml", "--data=PhrasebookCorpus", "--print_config"],
        cwd=tmp_path / "mine", env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["model"]["class_path"] == "soft_kl.SoftKL"


@pytest.mark.rotated(2)
def test_outside_of_a_checkout_it_is_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site-packages").mkdir()
    monkeypatch.setattr(module, "ROOT", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    assert main(["new-method", "SoftKL"]) == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"soft_kl.py", "soft_kl.yaml"}
    assert not list((tmp_path / "site-packages").iterdir())
