"""Bugs in mixtures of tasks, and in what their students share."""

from __future__ import annotations

from planted.mutant import Mutant

METHOD = "lit_distill/methods/labels/multi_task.py"
TEST = "tests/lit_distill/methods/test_multi_task.py"
DATA = "tests/data_modules/test_task_mixture.py"

MIXTURES = (
    Mutant(
        "every task weighs the same in an update, however often it is drawn",
        METHOD,
        "totals[name] = totals[decisions] * batches / (own + (own == 0))",
        "totals[name] = totals[decisions]",
        f"{TEST} -k formula",
    ),
    Mutant(
        "all tasks hear the first one's teacher",
        METHOD,
        "teach([self.cast.teacher_models[task]], ",
        "teach([*self.cast.teacher_models.values()][:1], ",
        f"{TEST} -k formula",
    ),
    Mutant(
        "heads of absent tasks have no gradient",
        METHOD,
        "found |= terms.none_of(self.cast.student_models[name], batch, *given, *more)",
        "pass",
        f"{TEST} -k ranks",
    ),
    Mutant(
        "every student keeps a body of its own",
        "lit_distill/models/students/sharing.py",
        "            setattr(model.model.base_model, organ, module)",
        "            pass",
        f"{TEST} -k one_set",
    ),
    Mutant(
        "bodies that differ are tied all the same",
        "lit_distill/models/students/sharing.py",
        "{n for n in own if _differ(organs[n], own[n])}",
        "set()",
        f"{TEST} -k one_line",
    ),
    Mutant(
        "tasks are drawn in proportion to their examples",
        "data_modules/task_mixture.py",
        "(self.sizes / self.sizes.max()) ** self.alpha",
        "self.sizes / self.sizes.max()",
        f"{DATA} -k alpha",
    ),
    Mutant(
        "a resumed mixture begins its tasks anew",
        "data_modules/feeding/mixing.py",
        "[task].batch(int(counts[task]))",
        "[task].batch(inside)",
        f"{DATA} -k before_any",
    ),
    Mutant(
        "languages keep the numbers of their own task",
        "data_modules/feeding/mixing.py",
        '        batch["language"] = torch.from_numpy(self.member.languages)[batch["language"]]\n',
        "",
        f"{DATA} -k languages",
    ),
)
