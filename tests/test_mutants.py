"""Every planted bug turns a test red; `make mutants` plants all, `make test` every third."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from mutants import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent
PACKAGES = ("lit_distill", "data_modules", "callbacks")
COPIED = (*PACKAGES, "configs", "tests", "pyproject.toml")


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


def _is_ours(file: str) -> bool:
    return file.startswith(f"{ROOT}/") and "site-packages" not in file


def _module_of(finder: object) -> str:
    return getattr(finder, "__module__", None) or ""


def run(folder: Path, tests: str) -> int:
    """Runs tests on the copy in a forked child, which saves the import of torch for every bug."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.chdir(folder)
            sys.path[:0] = [str(folder), str(folder / "tests")]
            # what an earlier test of this process put there finds the packages of the original
            sys.meta_path[:] = [
                finder for finder in sys.meta_path if "own_packages" not in _module_of(finder)
            ]
            for name, module in list(sys.modules.items()):
                file = getattr(module, "__file__", None) or ""
                if name.partition(".")[0] in (*PACKAGES, "tests") or _is_ours(file):
                    del sys.modules[name]
            sys.dont_write_bytecode = True
            with open(folder / "output.txt", "w") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            options = ["-x", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}"]
            code = int(pytest.main([*options, *tests.split()]))
            found = [sys.modules[name] for name in PACKAGES if name in sys.modules]
            if not all(str(module.__file__).startswith(f"{folder}/") for module in found):
                code = 71  # the original was tested
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


PLANTED = [  # `make test` plants the same third each time: all of them take minutes
    pytest.param(mutant, id=mutant.name, marks=[pytest.mark.slow] if place % 3 else [])
    for place, mutant in enumerate(MUTANTS)
]


@pytest.mark.parametrize("mutant", PLANTED)
def test_a_planted_bug_turns_a_test_red(mutant: Mutant, copy: Path) -> None:
    path = copy / mutant.file
    original = path.read_text("utf-8")
    assert original.count(mutant.old) == 1, "the mutant no longer fits the code"
    path.write_text(original.replace(mutant.old, mutant.new), "utf-8")
    try:
        code = run(copy, mutant.tests)
    finally:
        path.write_text(original, "utf-8")
    shown = (copy / "output.txt").read_text("utf-8")
    # 1: tests ran and some failed; anything else means that nothing was tested
    assert code == 1, shown[-2000:]
    assert "ImportError" not in shown
    assert "SyntaxError" not in shown
