"""Bugs in caches of task teachers, and in what is asked of trained classifiers."""

from __future__ import annotations

from planted.mutant import Mutant

CACHES = "tests/lit_distill/tools/caching/test_task_caches.py"
AS_TRAINED = "tests/lit_distill/tools/evaluating/modes/test_as_trained.py"

TASK_CACHES = (
    Mutant(
        "a cached teacher of labels reads the student's view",
        "lit_distill/tools/caching/cache_shards.py",
        "self.model.encode(TextBatch(**moved), self.view)",
        "self.model.encode(TextBatch(**moved))",
        f"{CACHES} -k numbers_are_those",
    ),
    Mutant(
        "some labels of a teacher are left out of its cache",
        "lit_distill/tools/caching/cache_teacher.py",
        "return replace(options, k=model.outputs)",
        "return replace(options, k=model.outputs - 1)",
        f"{CACHES} -k kept_exactly",
    ),
    Mutant(
        "labels of another order are learnt from a cache",
        "lit_distill/models/teachers/cached.py",
        'labels = {"labels": student.labels} if student.labels else {}',
        "labels: dict[str, list[str]] = {}",
        f"{CACHES} -k not_made_for",
    ),
    Mutant(
        "a cache holds words that noise makes unreadable",
        "data_modules/labelled.py",
        "if self.noise is not None and self._task.by_word:",
        "if False:",
        f"{CACHES} -k one_line",
    ),
    Mutant(
        "scores of a trained classifier are in its own order of labels",
        "lit_distill/tools/evaluating/modes/as_trained.py",
        "scores=found.scores[:, order]",
        "scores=found.scores",
        AS_TRAINED,
    ),
    Mutant(
        "one query of two languages is ranked as one",
        "lit_distill/tools/evaluating/modes/as_trained.py",
        "queries ^ languages[found.language]",
        "queries",
        f"{AS_TRAINED} -k ranked",
    ),
    Mutant(
        "names of options know no axis of a grid of one cell",
        "lit_distill/tools/recipes/filling.py",
        "if a in free}, **cell}",
        "if False}, **cell}",
        "tests/lit_distill/tools/recipes/test_grid.py -k axes_of_one",
    ),
)
