"""Bugs in which cells are asked, by which weights, and in what is kept of them."""

from __future__ import annotations

from planted.mutant import Mutant

ROOM = "lit_distill/tools/evaluating"
TESTS = f"tests/{ROOM}"
EVALUATE, TUNING = f"{TESTS}/test_evaluate.py", f"{TESTS}/modes/test_fine_tuning.py"

EVALUATIONS = (
    Mutant(
        "new predictions stand under an old identity",
        f"{ROOM}/cells/records.py",
        'remove(self._path("json"))',
        "pass",
        f"{TESTS}/cells/test_records.py -k never",
    ),
    Mutant(
        "the last weights answer, not the best",
        f"{ROOM}/modes/best_weights.py",
        "            own[name].copy_(kept)\n",
        "            del kept\n",
        f"{TUNING} -k best_weights",
    ),
    Mutant(
        "the worst accuracy is kept for the best",
        f"{ROOM}/modes/best_weights.py",
        "value = -value if chosen.smaller_is_better else value",
        "value = -value",
        f"{TUNING} -k another_metric",
    ),
    Mutant(
        "answers come in the order of batches",
        f"{ROOM}/modes/answers.py",
        'order = np.argsort(windows, kind="stable")',
        "order = np.arange(len(windows))",
        f"{TUNING} -k plain_class",
    ),
    Mutant(
        "a stopped cell begins anew",
        f"{ROOM}/modes/fine_tuning.py",
        "ckpt_path=last if last.exists() else None",
        "ckpt_path=None",
        f"{TUNING} -k stopped",
    ),
    Mutant(
        "the head does not depend on the seed",
        f"{ROOM}/modes/fine_tuning.py",
        "seed_everything(question.seed, verbose=False)",
        "seed_everything(0, verbose=False)",
        f"{TUNING} -k head_is_the_seeds",
    ),
    Mutant(
        "a mean over padding, too",
        f"{ROOM}/modes/linear_probe.py",
        "weights = mask.unsqueeze(-1).to(hidden)",
        "weights = torch.ones_like(hidden)",
        f"{TESTS}/modes/test_linear_probe.py -k alone",
    ),
    Mutant(
        "another mode is not asked anew",
        f"{ROOM}/plan.py",
        "digest([FORMAT, mark, of_data, repr(mode), seed])",
        "digest([FORMAT, mark, of_data, seed])",
        f"{EVALUATE} -k something_changed",
    ),
    Mutant(
        "a model that is asked and missing is passed over",
        f"{ROOM}/plan.py",
        "if source in needed:",
        "if source in needed and not sources:",
        f"{EVALUATE} -k not_there_yet",
    ),
    Mutant(
        "a broken cell is never asked again",
        f"{ROOM}/evaluate.py",
        "return found is not None and not found.error",
        "return found is not None",
        f"{EVALUATE} -k broken_cell",
    ),
    Mutant(
        "texts that were seen in training are asked all the same",
        f"{ROOM}/evaluate.py",
        "    _check_unseen(cells)\n",
        "",
        f"{EVALUATE} -k has_seen",
    ),
)
