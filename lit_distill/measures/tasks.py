"""What is measured of students with a task each: by each as if it were alone."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from torch import nn

from lit_distill.batch import Batch
from lit_distill.measures.labels import measure_of
from lit_distill.measures.language_model import LanguageModelMeasure
from lit_distill.measures.measure import Measure, MeasuredMethod, Measurement
from lit_distill.models import Ensemble, LanguageModel
from lit_distill.task_batches import task_of


class _OneTask:
    """A method as a measure of one of its tasks sees it: one student, and its own teacher.

    All else is the method's.
    """

    measured_by: ClassVar[type[Measure]] = LanguageModelMeasure  # so what the head says
    ensemble = Ensemble()

    def __init__(self, method: MeasuredMethod, name: str) -> None:
        self._method, self._name = method, name
        self.students = nn.ModuleDict({name: method.students[name]})

    @property
    def cast(self) -> _OneTask:
        """The models, which are named here as well."""
        return self

    @property
    def student_models(self) -> dict[str, LanguageModel]:
        """The student of the task, by its name."""
        return {self._name: self._method.cast.student_models[self._name]}

    @property
    def comparable_teachers(self) -> list[LanguageModel]:
        """The teacher of the task, if there is one."""
        found = self._method.teachers
        return [cast(LanguageModel, found[self._name])] if self._name in found else []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)


class TaskMeasure(Measure):
    """For the student of each task what its head says: `LabelMeasure`, `ValueMeasure`, ..."""

    caption = "of each task's own kind, on that task's texts alone."

    def __init__(self, method: MeasuredMethod) -> None:
        super().__init__(method)
        self.tasks = {
            name: measure_of(cast(MeasuredMethod, _OneTask(method, name)))
            for name in method.students
        }
        for measure in self.tasks.values():
            measure.breakdowns = self.breakdowns
        every = (metric for measure in self.tasks.values() for metric in measure.metrics)
        self.metrics = [*{metric.name: metric for metric in every}.values()]

    def check(self) -> None:
        """See `Measure`."""
        for measure in self.tasks.values():
            measure.check()

    def start(self) -> None:
        """See `Measure`."""
        for measure in self.tasks.values():
            measure.start()

    def update(self, batch: Batch) -> None:
        """Adds a batch of one task."""
        task = task_of(batch)
        assert task is not None  # of a mixture
        self.tasks[task].update(batch)

    def compute(self) -> dict[str, Measurement]:
        """See `Measure`."""
        return {name: one.compute()[name] for name, one in self.tasks.items()}
