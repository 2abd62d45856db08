"""Bugs at the two ends of a run: what it begins with, and what it leaves."""

from __future__ import annotations

from planted.mutant import Mutant

CALLBACKS_TEST = "tests/lit_distill/cli/test_callbacks.py"
CHECKPOINTS_TEST = "tests/lit_distill/cli/test_checkpoints.py"
ENDING_TEST = "tests/lit_distill/cli/test_ending.py"
RUN_TEST = "tests/lit_distill/tools/recipes/test_run.py"
TRAINER_TEST = "tests/lit_distill/cli/test_trainer.py"

ENDS = (
    Mutant(
        "an own list of callbacks leaves a run unsaved",
        "lit_distill/cli/callbacks.py",
        '    trainer["callbacks"] = [*given, *(_node(Callback, kind) for kind in added)]\n',
        '    trainer["callbacks"] = given\n',
        f"{CALLBACKS_TEST} -k any_list",
    ),
    Mutant(
        "saving that was switched off goes on",
        "lit_distill/cli/callbacks.py",
        "if not _is_any(c, off)]",
        "]",
        f"{CALLBACKS_TEST} -k switched_off",
    ),
    Mutant(
        "checkpoints of a run without a trainer config are not written whole or not at all",
        "lit_distill/cli/callbacks.py",
        "if RunCheckpoint not in off and not any(",
        "if RunCheckpoint in off and not any(",
        f"{CALLBACKS_TEST} -k plugins",
    ),
    Mutant(
        "validate measures the untrained start",
        "lit_distill/cli/checkpoints.py",
        '    path = find_checkpoint(name if name is not None else "best", run_dir)\n',
        "    if name is None:\n        return None\n    path = find_checkpoint(name, run_dir)\n",
        f"{CHECKPOINTS_TEST} -k measured",
    ),
    Mutant(
        "one of several bests is taken for all",
        "lit_distill/cli/checkpoints.py",
        "    if own:\n",
        "    if own:\n        return own[-1]\n    if own:\n",
        f"{CHECKPOINTS_TEST} -k several",
    ),
    Mutant(
        "the folder of an earlier run is trained over",
        "lit_distill/cli/checkpoints.py",
        "    if not folder.is_dir() and any(path.exists() for path in students):\n",
        "    if not students:\n",
        "tests/lit_distill/cli/test_training.py -k written_over",
    ),
    Mutant(
        "a short run is never validated",
        "callbacks/saving/export_student.py",
        '        if "last" not in self._report:\n            validate_now(trainer)\n',
        "",
        f"{ENDING_TEST} -k short_run",
    ),
    Mutant(
        "a student that nothing measured is called the best",
        "callbacks/saving/export_student.py",
        "        if student not in self.best:\n            return None\n",
        '        if student not in self.best:\n            return float("nan"), 0\n',
        f"{ENDING_TEST} -k none_is_called",
    ),
    Mutant(
        "a stage whose student is gone is done",
        "lit_distill/tools/recipes/progress.py",
        "        wanted += [path for path in read if stage.folder in (path, *path.parents)]\n",
        "",
        f"{RUN_TEST} -k leaves_no_student",
    ),
    Mutant(
        "a stage's own student is not missed",
        "lit_distill/tools/recipes/progress.py",
        "        wanted = [stage.folder / name for name in outputs]\n",
        "        wanted: list[Path] = []\n",
        f"{RUN_TEST} -k is_gone",
    ),
    Mutant(
        "max_steps 0 trains nothing and ends well",
        "lit_distill/cli/trainer.py",
        "(value == -1 or 1 <= value <= _MOST)",
        "(value == -1 or 0 <= value <= _MOST)",
        f"{TRAINER_TEST} -k max_steps",
    ),
    Mutant(
        "an epoch ends inside an update, whose loss is divided by what never came",
        "lit_distill/cli/trainer.py",
        "    if batches == 0 or batches % accumulate:\n",
        "    if batches == 0:\n",
        f"{TRAINER_TEST} -k inside_an_update",
    ),
    Mutant(
        "validate measures no batch and ends well",
        "lit_distill/cli/trainer.py",
        '"limit_val_batches", _part(none=False), _PART, ("validate",)',
        '"limit_val_batches", _part(none=True), _PART, ("validate",)',
        f"{TRAINER_TEST} -k of_nothing",
    ),
)
"""What an end may leave out or take for done."""
