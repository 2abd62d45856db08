"""Bugs in how configs are put together."""

from __future__ import annotations

from planted.mutant import Mutant

VALUES_TEST = "tests/lit_distill/cli/parsing/test_values.py"
LISTS_TEST = "tests/lit_distill/cli/parsing/test_lists.py"

LISTS = (
    Mutant(
        "a list typed is merged item by item into that of a file",
        "lit_distill/cli/parsing/configs.py",
        'made.append(f"{name}=[]")',
        "pass",
        LISTS_TEST,
    ),
    Mutant(
        "a logger takes over the version of another kind",
        "lit_distill/cli/parsing/configs.py",
        'made.append(f"{name}=null")',
        "pass",
        LISTS_TEST,
    ),
    Mutant(
        "null on the command line is the text 'None' where options are nested",
        "lit_distill/cli/parsing/values.py",
        '    if value != "None" and',
        "    if",
        f"{VALUES_TEST} -k null_is_nothing",
    ),
    Mutant(
        "null is taken for options of nested classes that have none",
        "lit_distill/cli/errors.py",
        "self.check_nulls(inner, path, next(iter(classes_in(kind)), None))",
        "self.check_nulls(inner, path)",
        f"{VALUES_TEST} -k not_null",
    ),
    Mutant(
        "None in a config is a name",
        "lit_distill/cli/errors.py",
        """            if inner == "None" and kind is not None and takes_null(kind):\n""",
        "            if False:\n",
        f"{VALUES_TEST} -k not_null",
    ),
)
"""What several configs make together."""
