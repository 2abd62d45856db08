"""Bugs of `new-method` that would cost somebody a file, or break what is there."""

from __future__ import annotations

from planted.mutant import Mutant

NEW_METHOD = "lit_distill/tools/scaffolding/new_method.py"
NEW_METHOD_TEST = "tests/lit_distill/tools/scaffolding/test_new_method.py"

SCAFFOLDING = (
    Mutant(
        "a new method is written over a file of the same name",
        NEW_METHOD,
        "if (root / path).exists()]",
        "if not path]",
        f"{NEW_METHOD_TEST} -k written_over",
    ),
    Mutant(
        "a new method takes the name of a class that there is",
        NEW_METHOD,
        "taken.get(method.name.lower())",
        "taken.get(method.stem.upper())",
        f"{NEW_METHOD_TEST} -k refused",
    ),
    Mutant(
        "a method of a user's own hides a module of Python",
        NEW_METHOD,
        "find_spec(method.stem) is not None",
        "not method.stem",
        f"{NEW_METHOD_TEST} -k refused",
    ),
)
"""What is written, and what is left alone."""
