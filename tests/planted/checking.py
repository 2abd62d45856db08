"""Bugs in what `check` says of a run."""

from __future__ import annotations

from planted.mutant import Mutant

CHECKING = "lit_distill/tools/checking"
TEST = "tests/lit_distill/tools/checking/test_check_cli.py"

CHECKED = (
    Mutant(
        "a teacher is believed whatever it says",
        f"{CHECKING}/teacher_answers.py",
        "if loss > GUESSING * even:",
        "if loss > 10 * even:",
        f"{TEST} -k nothing",
    ),
    Mutant(
        "labels in another order are taken for a bad teacher",
        f"{CHECKING}/teacher_answers.py",
        "if renamed > max(0.6, right + 0.3):",
        "if renamed < right:",
        f"{TEST} -k order",
    ),
    Mutant(
        "the updates of the rehearsal are taken for those of the run",
        f"{CHECKING}/check_cli.py",
        "self.asked = trainer.clone()",
        "self.asked = trainer",
        f"{TEST} -k numbers_are",
    ),
    Mutant(
        "ranks take what one alone takes",
        f"{CHECKING}/memory.py",
        "        if ranks == 1:\n            return self\n",
        "        return self\n",
        f"{TEST} -k ranks",
    ),
    Mutant(
        "warnings are no news to scripts",
        "lit_distill/cli/preflight/findings.py",
        'CODES = {"error": 2, "warning": 1, "note": 0}',
        'CODES = {"error": 2, "warning": 0, "note": 0}',
        f"{TEST} -k people",
    ),
)
