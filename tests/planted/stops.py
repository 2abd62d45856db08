"""Bugs at the moment at which a run is stopped."""

from __future__ import annotations

from planted.mutant import Mutant

NEVER_LOSE = "tests/lit_distill/training/test_never_lose_training.py"
FAULTS = "tests/faults/test_faults.py"

STOPS = (
    Mutant(
        "a validation that was due at a stop never happens",
        "callbacks/saving/run_checkpoint.py",
        "            validate_now(trainer)\n",
        "            pass\n",
        f"{NEVER_LOSE} -k made_up",
    ),
    Mutant(
        "a resumed run without an update left ends without its last student",
        "callbacks/saving/due_validation.py",
        '            call._call_callback_hooks(trainer, "on_train_end")\n',
        "",
        f"{NEVER_LOSE} -k while_it_ended",
    ),
    Mutant(
        "the card of a student that a resume writes without a validation has no scores",
        "callbacks/saving/export_student.py",
        '        self._report = state_dict["report"]\n',
        "        pass\n",
        f"{NEVER_LOSE} -k while_it_ended",
    ),
    Mutant(
        "scalars that loggers hold back are lost with the process",
        "callbacks/saving/run_checkpoint.py",
        "        flush(trainer)\n",
        "",
        f"{NEVER_LOSE} -k made_up",
    ),
    Mutant(
        "a save before the first batch of a resume takes the random state of the new process",
        "callbacks/saving/rng_state.py",
        "own = self._to_restore or _read(",
        "own = _read(",
        "tests/callbacks/saving/test_rng_state.py -k before_the_first_batch",
    ),
    Mutant(
        "a best whose run was killed before it had its name stays the one before",
        "callbacks/saving/run_checkpoint.py",
        "                self._keep(trainer, resumed, self._named.pop())\n",
        "                self._named.pop()\n",
        "tests/callbacks/saving/test_checkpoint.py -k is_named_after",
    ),
    Mutant(
        "another's save in the folder of checkpoints passes for the best",
        "callbacks/saving/run_checkpoint.py",
        "            self._written, self._named = time.monotonic(), []\n",
        "            self._written = time.monotonic()\n",
        "tests/callbacks/saving/test_checkpoint.py -k others_save",
    ),
    Mutant(
        "a best that was never written keeps out later ones",
        "callbacks/saving/run_checkpoint.py",
        "            self.best = dict(self._written_best)\n",
        "",
        "tests/callbacks/saving/test_checkpoint.py -k later_ones",
    ),
)
"""What a stop may lose."""

SEEN_BY_FAULTS = (
    Mutant(
        "a resumed run takes the first student that it measures for the best",
        "callbacks/saving/export_student.py",
        "            self.best = best if isinstance(best, dict) else alone\n",
        "            pass\n",
        f"{FAULTS} -k after_checkpoint_4",
    ),
    Mutant(
        "a checkpoint does not say that a validation was due",
        "callbacks/saving/run_checkpoint.py",
        '"validation_due": self._due}',
        '"validation_due": False}',
        f"{FAULTS} -k validation_batch_1",
    ),
)
"""What only comparisons of students, and of a method that depends on validations, see."""
