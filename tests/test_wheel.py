"""The wheel, in an environment of its own, far from any checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `pip install` builds it, with the backend that is installed here: no network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = ["pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", *command, "-w", str(folder), str(ROOT)], check=True, cwd=folder
    )
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel, and the packages that are installed here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps"]
    subprocess.run([*pip, "--no-index", str(wheel)], check=True, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # a line of a .pth file adds a folder, and not what .pth files in there add: the checkout
    (packages / "here.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def said(python: Path, folder: Path, *args: str) -> str:
    """What a command prints that is run in a folder."""
    command = [str(python), "-m", "lit_distill", *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_has_every_config_and_text_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    packages = ("lit_distill", "data_modules", "callbacks")
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in packages
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".pyc",)
    }
    configs = (ROOT / "configs").rglob("*")
    expected |= {f"lit_distill/{p.relative_to(ROOT).as_posix()}" for p in configs if p.is_file()}
    assert names == expected


@pytest.mark.rotated(4)
def test_it_works_without_a_clone(installed: Path, tmp_path: Path) -> None:
    where = said(installed, tmp_path, "configs", "quickstart")
    assert str(installed.parents[1]) in where
    assert "quickstart/recipe" in where
    said(installed, tmp_path, "copy-config", "quickstart", "--output", "mine.yaml")
    tiny = [f"--variables.{name}=2" for name in ("teacher_updates", "updates", "topic_updates")]
    for recipe, only in (("quickstart", "tokenizer"), ("mine.yaml", "teacher")):
        said(installed, tmp_path, "run", recipe, *tiny, "--only", only)
    assert (tmp_path / "runs/quickstart/teacher/student/model.safetensors").is_file()
    merged = said(
        installed, tmp_path, "fit", "-c", "trainer/cpu", "-c", "methods/masked_lm",
        "-c", "quickstart/corpus", "-c", "quickstart/teacher", "--print_config",
    )  # fmt: skip
    assert "class_path: lit_distill.methods.MaskedLM" in merged
