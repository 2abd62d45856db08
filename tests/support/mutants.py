"""Bugs that peers have shipped or that we feared, planted one at a time.

Each is one textual change in one file and the tests that must turn red; `test_mutants.py` plants
them in a copy of the project. They lie in `planted`, by the part of the project that has the bug:
every tuple of mutants in a module there is planted.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from planted.mutant import Mutant as Mutant


def _planted() -> list[Mutant]:
    """The mutants of all modules, in the order of their names."""
    found: list[Mutant] = []
    for module in pkgutil.iter_modules([str(Path(__file__).parents[1] / "planted")]):
        for value in vars(importlib.import_module(f"planted.{module.name}")).values():
            if isinstance(value, tuple):
                found += [mutant for mutant in value if isinstance(mutant, Mutant)]
    return found


MUTANTS = tuple(_planted())
