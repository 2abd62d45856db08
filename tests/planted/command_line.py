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

OLD_TEST = "tests/lit_distill/cli/parsing/test_old_names.py"

OLD_NAMES = (
    Mutant(
        "any class is told the new name of an old one of another kind",
        "lit_distill/cli/parsing/old_names.py",
        "(not roots or issubclass(found, tuple(roots)))",
        "True",
        f"{OLD_TEST} -k other_names",
    ),
    Mutant(
        "a class of a user's module is told a name of ours",
        "lit_distill/cli/parsing/old_names.py",
        'module and module.split(".")[0] not in OURS',
        "not name",
        f"{OLD_TEST} -k other_names",
    ),
    Mutant(
        "an old option is told what all options are",
        "lit_distill/cli/explaining.py",
        "new := new_option(owner, name[0])",
        'new := ""',
        f"{OLD_TEST} -k old_option",
    ),
    Mutant(
        "a class is written into a config by the file in which it lies",
        "lit_distill/losses/__init__.py",
        "from lit_distill.losses.rows.alpha_beta import AlphaBeta as AlphaBeta\n",
        "",
        f"{OLD_TEST} -k public",
    ),
)
"""What is told of names of earlier versions, and which names a config keeps."""
