"""Several single-task teachers, one student with a head for each task (Clark et al., 2019)."""

from __future__ import annotations

from typing import Any

from lit_distill.batch import LabelledBatch, Reading
from lit_distill.errors import UserError
from lit_distill.knobs import check_knobs
from lit_distill.losses import (
    AccumulationWindow,
    CrossEntropy,
    HardLoss,
    SoftTarget,
    Term,
    Weight,
)
from lit_distill.measures import TaskMeasure
from lit_distill.methods.labels._task_terms import TaskTerms
from lit_distill.models import (
    Ensemble,
    Hears,
    Predicted,
    TeacherSpec,
    share_body,
    teach,
    teacher_view,
)
from lit_distill.task_batches import task_of
from lit_distill.training.distillation import Distillation


class MultiTask(Distillation):
    """One body with a head for each task, taught by a teacher for each.

        L = sum_t b_t / b [alpha_hard hard(z, label) + sum_k weight_k soft_k(z, z_teacher of t)]

    Every batch is of one task. Of an update with b batches on all ranks, b_t of them of task t, the
    terms of t are means over all its decisions there: tasks weigh as often as they are drawn, and
    one batch alone is `FineTune` on it. A head rests on nothing: in updates without its task its
    gradient is 0, so that the optimizer's moments fade.

    Needs: `students` named as the tasks, which start from one body (`PretrainedStudent` of one
    name; each gets the head of its task) and then share its modules; each is exported as a model of
    its own. Teachers read the same tokens, or a view that their task's data has made for them.
    Data: a `TaskMixture`.
    Relations: of a single task, `FineTune`, bit for bit.

    Args:
        teachers: by task; a task without one learns from its labels alone, with weight 1.
        hard: the loss of labels, of all tasks.
        alpha_hard: its weight; `Ramp(0, 1)` beside `Ramp(1, 0)` of every soft target is the
            annealing of BAM and N-LTP: w = step / N.
        soft: terms of each teacher by name, logged as `train/<task>/<name>`.
        per_task: instead of these three, the terms of single tasks.
        base: see `Distillation`; all tasks together are one model, "student", in `per_model`.

    Source: BAM (Clark et al., 2019), https://arxiv.org/abs/1907.04829; N-LTP (Che et al., 2021),
    https://arxiv.org/abs/2009.11616, HIT-SCIR/ltp@0f43160, ltp/multitask_distill.py (its
    classification and tagging; its parsers are out of scope).
    """

    hears: Hears | None = Hears.LOGITS
    reads = (Reading.LABELS,)
    takes_view = True
    takes_several = True
    by_task = True
    measured_by = TaskMeasure
    predicts = tuple(kind for kind in Predicted if kind != Predicted.TOKENS)
    alone = {"soft": None, "alpha_hard": 1.0, "per_task": None}  # noqa: RUF012 (a ClassVar's)

    def __init__(
        self,
        teachers: dict[str, TeacherSpec] | None = None,
        hard: HardLoss = CrossEntropy(),  # noqa: B008 (frozen)
        alpha_hard: Weight = 1.0,
        soft: dict[str, SoftTarget] | None = None,
        per_task: dict[str, TaskTerms] | None = None,
        **base: Any,
    ) -> None:
        if others := [n for n in ("teacher", "teacher_source", "teacher_cache") if base.get(n)]:
            raise UserError(f"MultiTask hears a teacher for each task: set teachers, not {others}.")
        self.hears = None  # no teacher of all
        super().__init__(**base)
        check_knobs(MultiTask, locals())
        self.cast.teacher_specs = dict(teachers or {})
        common = TaskTerms(hard, alpha_hard, soft or {})
        self._check_names(set(self.cast.teacher_specs) | set(per_task or {}))
        if soft and not teachers:
            raise UserError("MultiTask.soft learns from teachers and none is given: set teachers.")
        self.terms = {name: self._own(name, common, per_task or {}) for name in self.student_names}
        self.couples = tuple(f"{n}/{one}" for n, own in self.terms.items() for one in own.couples)

    def _check_names(self, given: set[str]) -> None:
        if strangers := sorted(given - set(self.student_names)):
            raise UserError(
                f"MultiTask has no student for {', '.join(strangers)}: model.students has "
                f"{', '.join(self.student_names)}."
            )

    def _own(self, name: str, common: TaskTerms, given: dict[str, TaskTerms]) -> TaskTerms:
        """The terms of one task, those without a weight left out."""
        taught = name in self.cast.teacher_specs
        found = given.get(name, common if taught else TaskTerms(common.hard))
        if found.soft and not taught:
            raise UserError(f"MultiTask.per_task.{name} has soft targets, and no teacher.")
        return found.weighed(MultiTask, name)

    def on_models_built(self) -> None:
        """Ties the bodies; refuses losses that a task has no logits for."""
        if self.device_mesh is not None:
            raise UserError(
                "MultiTask's students share a body, which FSDP2 would split once for each of them: "
                "use DDP (configs/trainer/ddp.yaml)."
            )
        for name, student in self.cast.student_models.items():
            self.terms[name].check(student.anatomy.predicts, f"model.per_task.{name}")
        share_body(self.cast.student_models)
        self.notes = [f"its body is that of the tasks {', '.join(self.terms)}"]

    def configure_optimizers(self) -> Any:
        """One optimizer, which sees the body once; all tasks are clipped as one model."""
        return self.updates.configure({"student": self.students}, self.trainer)

    def losses(self, batch: LabelledBatch, window: AccumulationWindow) -> dict[str, Term]:
        """The terms <task>/hard and <task>/<name> of all tasks; zero but for the batch's own."""
        task = str(task_of(batch))
        model, view = self.cast.student_models[task], teacher_view(batch)
        student, teacher = model.encode(batch), None
        if self.terms[task].soft:
            teacher = teach([self.cast.teacher_models[task]], Ensemble(), batch, view=view)
        found, given = dict[str, Term](), (window, student)
        for name, terms in self.terms.items():
            more = f"{name}/", _counts(name, window, self.student_names)
            if name == task:
                found |= terms.of(model, batch, *given, teacher, *more)
            else:
                found |= terms.none_of(self.cast.student_models[name], batch, *given, *more)
        return found


def _counts(task: str, window: AccumulationWindow, tasks: list[str]) -> tuple[str, str]:
    """What the sums of a task are divided by, and the count of its decisions."""
    totals, name, decisions = window.totals, f"{task}/mean", f"{task}/decisions"
    if name not in totals:
        batches = sum(totals[f"{one}/batches"] for one in tasks)
        own = totals[f"{task}/batches"]
        # b / b_t; of a task that is not there, whatever: its sums are zero.
        totals[name] = totals[decisions] * batches / (own + (own == 0))
    return name, decisions
