"""Bugs of the command line that change a run in silence, or tell the wrong thing."""

from __future__ import annotations

from planted.mutant import Mutant

ORDER = (
    Mutant(
        "a file read after an option takes its place",
        "lit_distill/cli/training.py",
        "files_first(permit(args))",
        "permit(args)",
        "tests/lit_distill/cli/parsing/test_order.py -k typed",
    ),
    Mutant(
        "the page of a command hides an option of ours",
        "lit_distill/cli/parsing/options.py",
        "**more, **SECTIONS, **own}",
        "**more, **SECTIONS}",
        "tests/lit_distill/cli/test_help.py -k page",
    ),
)
"""What is typed, and what is shown."""
