"""Planted bugs turn tests red: `make mutants` plants all, `make test` another 24th each day."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mutants import MUTANTS, Mutant
from planting import OURS, Planter, planter

ROOT = Path(__file__).parents[1]
PAGES = ("docs", "benchmarks", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")
COPIED = (*OURS, *PAGES, "configs", "tests", "pyproject.toml")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planter]:
    """The project in a folder of its own, without compiled files, and what runs tests there."""
    folder = tmp_path_factory.mktemp("mutants")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    with planter(folder) as running:
        yield running


def test_every_bug_fits_the_code() -> None:
    """Each day, as bugs are planted on one day of many."""
    texts = {mutant.file: (ROOT / mutant.file).read_text("utf-8") for mutant in MUTANTS}
    assert not [one.name for one in MUTANTS if texts[one.file].count(one.old) != 1]
    assert not [one.name for one in MUTANTS for test in one.tests.split() if not _exists(test)]


def _exists(argument: str) -> bool:
    """Whether the file that an argument of pytest names is there; others are options."""
    path = argument.partition("::")[0]
    return not path.endswith(".py") or (ROOT / path).is_file()


@pytest.mark.rotated(24)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_turns_a_test_red(mutant: Mutant, copy: Planter) -> None:
    path = copy.folder / mutant.file
    original = path.read_text("utf-8")
    assert original.count(mutant.old) == 1, "the mutant no longer fits the code"
    path.write_text(original.replace(mutant.old, mutant.new), "utf-8")
    try:
        code, shown = copy.run(mutant.tests)
    finally:
        path.write_text(original, "utf-8")
    # 1: tests ran and some failed; anything else means that nothing was tested
    assert code == 1, shown[-2000:]
    assert "ImportError" not in shown
    assert "SyntaxError" not in shown
