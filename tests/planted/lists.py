"""Bugs in how configs are put together."""

from __future__ import annotations

from planted.mutant import Mutant

LISTS_TEST = "tests/lit_distill/test_cli_lists.py"

LISTS = (
    Mutant(
        "a list typed is merged item by item into that of a file",
        "lit_distill/cli_configs.py",
        'made.append(f"{name}=[]")',
        "pass",
        LISTS_TEST,
    ),
    Mutant(
        "a logger takes over the version of another kind",
        "lit_distill/cli_configs.py",
        'made.append(f"{name}=null")',
        "pass",
        LISTS_TEST,
    ),
)
"""What several configs make together."""
