"""Bugs that run what a config names."""

from __future__ import annotations

from planted.mutant import Mutant

MODULES_TEST = "tests/lit_distill/test_cli_modules.py"

PERMISSIONS = (
    Mutant(
        "a config imports the modules that it names",
        "lit_distill/cli_modules.py",
        'import_path_denylist=["*"], ',
        "",
        f"{MODULES_TEST} -k strangers",
    ),
    Mutant(
        "any function of torch is an optimizer",
        "lit_distill/cli.py",
        "        check_callables(config, cast(DistillParser, parser).where)\n",
        "",
        f"{MODULES_TEST} -k optimizer",
    ),
    Mutant(
        "any class of torch is a weight",
        "lit_distill/cli_callables.py",
        "if roots else is_permitted(found.__module__)",
        "if roots else True",
        f"{MODULES_TEST} -k weight",
    ),
)
"""What a file may have done."""
