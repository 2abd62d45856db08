"""Who takes part in a run: what building, training and checkpoints have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lightning.pytorch.utilities import rank_zero_info
from torch import nn
from transformers import PreTrainedTokenizerBase

from lit_distill.models import (
    Exported,
    Hears,
    Identity,
    LanguageModel,
    RandomStream,
    Student,
    TeacherSource,
    TeacherSpec,
    fingerprint,
    reading_alike,
)
from lit_distill.task_batches import task_of

Kind = TypeVar("Kind", bound=nn.Module)


@dataclass
class Cast:
    """The models of a run, what they start from, and what is known about them.

    Attributes:
        student_specs: how each student starts, by name.
        teacher_specs: live teachers by name, the first one first.
        streams: random numbers of students that have their own, by name.
        source: what the method hears of its teachers in training.
        students: trained models by name; empty until they are built or restored.
        teachers: live teachers by name; empty until they are built.
        auxiliary: what is trained beside the students and never exported.
        exported: what is trained beside them and lies beside them in their export.
        needs_head: whether logits are asked for; False: models without a head will do.
        shares_vocabulary: whether teachers read the students' token ids; False: they have a view of
            the batch of their own, and their logits are not compared with the students'.
        takes_view: whether teachers read the view of the batch that the data made for them, if any.
        by_task: whether each student has a task and a teacher of its own name.
        hears: what the method asks teachers for; None: they give layers and are compared with.
        tokenizer: of the run, if known.
        identities: of live teachers; a checkpoint's where none was opened.
        eos_ids: ids at which the data's texts end.
        endings: ids at which the texts of a checkpoint's training ended.
        folder: of the run, if there is one.
    """

    student_specs: dict[str, Student]
    teacher_specs: dict[str, TeacherSpec]
    source: TeacherSource
    streams: dict[str, RandomStream] = field(default_factory=dict)
    students: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    teachers: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    auxiliary: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    exported: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    needs_head: bool = True
    shares_vocabulary: bool = True
    takes_view: bool = False
    by_task: bool = False
    hears: Hears | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    identities: dict[str, Identity] = field(default_factory=dict)
    eos_ids: Iterable[int] = ()
    endings: list[int] = field(default_factory=list)
    folder: Path | None = None

    @property
    def student_models(self) -> dict[str, LanguageModel]:
        """The students by name, typed."""
        return _all_of(self.students, LanguageModel)

    @property
    def teacher_models(self) -> dict[str, LanguageModel]:
        """The live teachers by name, typed."""
        return _all_of(self.teachers, LanguageModel)

    @property
    def answering_teachers(self) -> dict[str, LanguageModel]:
        """The live teachers with a head: of a control, the teacher may be a body alone."""
        return {n: one for n, one in self.teacher_models.items() if one.anatomy.has_head}

    @property
    def comparable_teachers(self) -> list[LanguageModel]:
        """The live teachers whose logits mean what those of the students mean."""
        models = self.answering_teachers if self.needs_head else self.teacher_models
        return [*models.values()] if self.shares_vocabulary else []

    @property
    def teachers_need_head(self) -> bool:
        """Whether teachers are asked for logits, if only to be compared with."""
        alone = all(start.heads_itself for start in self.student_specs.values())
        return self.needs_head and not (self.hears is None and alone)

    @property
    def exported_modules(self) -> dict[str, Exported]:
        """What lies beside the students in their export, by name, typed."""
        return _all_of(self.exported, Exported)

    @property
    def student(self) -> LanguageModel:
        """The student called "student", or else the only one."""
        if "student" in self.students:
            return self.student_models["student"]
        (only,) = self.student_models.values()
        return only

    def read_alike(self, has_view: bool) -> None:
        """Has teachers that read the students' ids read their vocabulary, where it was trimmed.

        Args:
            has_view: whether the data makes teachers a view of its own.

        Raises:
            UserError: the students have different ones.
        """
        takes_view = self.takes_view or not self.shares_vocabulary
        if not (takes_view and has_view):
            self.teacher_specs = reading_alike(self.teacher_specs, self.student_specs)

    def move_streams(self, update: int, micro: int, rank: int) -> None:
        """Has the random numbers of students be those of a micro-batch; see `RandomStream`."""
        for stream in self.streams.values():
            stream.move_to(update, micro, rank)

    def readers(self, batch: Any) -> list[LanguageModel]:
        """The students that read a batch: all, or the one of its task."""
        return [*self.student_models.values()] if not self.by_task else [self._of(batch)]

    def _of(self, batch: Any) -> LanguageModel:
        task = task_of(batch)
        assert task is not None  # of a mixture
        return self.student_models[task]

    def identify_teachers(self) -> dict[str, Identity]:
        """Name, revision and hash of each teacher; of recorded ones what the source says.

        Hashing reads every weight, so it is done once a run.
        """
        recorded = self.source.identity()
        if not self.teachers and recorded is not None:
            return dict(recorded.teachers)
        if self.teachers and not self.identities:
            self.identities = {
                name: {
                    "name": spec.name,
                    "revision": spec.revision,
                    "fingerprint": fingerprint(self.teacher_models[name]),
                }
                for name, spec in self.teacher_specs.items()
            }
        return dict(self.identities)

    def check_source(self) -> None:
        """Checks built models against where teachers are heard; says what is then left out.

        Raises:
            UserError: see `TeacherSource.check`.
        """
        self.source.check(self.student_models, self.identify_teachers() if self.teachers else {})
        if (recorded := self.source.identity()) is not None and not self.teachers:
            rank_zero_info(
                f"Training reads {recorded.name}, and no live teacher is given: agreement is left "
                "out of validation."
            )


def _all_of(modules: nn.ModuleDict, kind: type[Kind]) -> dict[str, Kind]:
    """Modules by name, all of which are of a kind."""
    found = {name: module for name, module in modules.items() if isinstance(module, kind)}
    assert len(found) == len(modules), f"not all of {list(modules)} are {kind.__name__}s"
    return found
