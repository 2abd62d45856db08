"""Every planted bug turns a test red."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mutants import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent
COPIED = ("lit_distill", "data_modules", "callbacks", "configs", "tests", "pyproject.toml")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a folder of its own, without compiled files."""
    folder = tmp_path_factory.mktemp("mutants")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def run(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    """Runs tests on the copy; the first folder on the path wins over an installed project."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, *tests.split()],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_turns_a_test_red(mutant: Mutant, copy: Path) -> None:
    path = copy / mutant.file
    original = path.read_text("utf-8")
    assert original.count(mutant.old) == 1, "the mutant no longer fits the code"
    path.write_text(original.replace(mutant.old, mutant.new), "utf-8")
    try:
        result = run(copy, mutant.tests)
    finally:
        path.write_text(original, "utf-8")
    # 1: tests ran and some failed; anything else means that nothing was tested
    assert result.returncode == 1, result.stdout[-2000:]
    assert "ImportError" not in result.stdout
    assert "SyntaxError" not in result.stdout
