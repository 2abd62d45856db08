"""Bugs in what `check` says of a run."""

from __future__ import annotations

from planted.mutant import Mutant

CHECKING = "lit_distill/tools/checking"
PREFLIGHT = "lit_distill/cli/preflight"
THREADS = "tests/lit_distill/tools/checking/test_public_threads.py"
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
    Mutant(
        "a teacher is thought to fit however large it is",
        f"{PREFLIGHT}/room.py",
        "if total <= room:",
        "if total > 0:",
        f"{THREADS} -k fit",
    ),
    Mutant(
        "other ids of the same text are no difference",
        f"{CHECKING}/samples.py",
        "same = theirs is not None and theirs.ids == own.ids",
        "same = theirs is not None",
        f"{THREADS} -k templates",
    ),
    Mutant(
        "a template that ends itself is warned of as one that does not",
        f"{PREFLIGHT}/readings.py",
        "if known and not {*ids} & {*data.eos_ids}:",
        "if known:",
        "tests/lit_distill/tools/checking/test_good_set_ups.py -k decoder",
    ),
    Mutant(
        "steps that are rounded away are taken for steps",
        f"{PREFLIGHT}/precision.py",
        "torch.finfo(dtype).eps / 4",
        "torch.finfo(dtype).eps / 400",
        "tests/lit_distill/cli/preflight/test_preflight.py -k goes_on",
    ),
)
