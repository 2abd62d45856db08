"""Which vocabulary all models of a run read, where the students' was trimmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lit_distill.errors import UserError
from lit_distill.models.students.student_spec import Student
from lit_distill.models.teachers.teacher import TeacherSpec


def reading_alike(
    teachers: dict[str, TeacherSpec], students: Mapping[str, Student]
) -> dict[str, TeacherSpec]:
    """The teachers of students whose ids they read: they read the same vocabulary.

    Args:
        teachers: by name; one that has a vocabulary of its own keeps it.
        students: by name.

    Raises:
        UserError: the students have different vocabularies.
    """
    wanted = {name: start.vocabulary for name, start in students.items()}
    vocabulary, *others = {*wanted.values()}
    if others:
        listed = ", ".join(f"{name} {one or 'none'}" for name, one in wanted.items())
        raise UserError(
            "Students that learn together read the same ids, and their vocabularies differ "
            f"({listed}): give all the same."
        )
    if vocabulary is None:
        return teachers
    return {
        name: spec if spec.vocabulary else replace(spec, vocabulary=vocabulary)
        for name, spec in teachers.items()
    }
