"""Whether what the heads of tasks predict means the same, and can be learnt."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Predicted, TaskHead
from lit_distill.models.body.language_model import LanguageModel


def check_classifier(model: LanguageModel, name: str) -> None:
    """Checks that a classifier chooses one of its labels.

    Args:
        model: student or teacher; one without labels is not looked at.
        name: "student" or "teacher", for the message.

    Raises:
        UserError: it has one label, several numbers, or labels of which any number hold at once.
    """
    if not model.anatomy.has_labels:
        return
    kind = model.config.problem_type
    if model.outputs < 2 or kind in ("regression", "multi_label_classification"):
        raise UserError(
            f"The {name} has {model.outputs} output(s) and problem_type {kind or 'none'}: losses "
            "here are of one label out of several (single_label_classification), or of one number. "
            "Give a classifier with two labels or more of which one holds."
        )


def check_kind(
    model: LanguageModel, name: str, method: str, predicts: Collection[Predicted]
) -> None:
    """Checks that a method can train what a student predicts.

    Args:
        model: the student; one without a head is not looked at.
        name: of it, for the message.
        method: of it, likewise.
        predicts: what the method can train.

    Raises:
        UserError: it cannot.
    """
    found = model.anatomy.predicts
    if model.anatomy.has_head and found not in predicts:
        raise UserError(
            f"The {name} is a {type(model.model).__name__}, which predicts {found.value}, and "
            f"{method} trains models that predict {' or '.join(each.value for each in predicts)}: "
            "use FineTune, or another student."
        )


def check_same_labels(models: Mapping[str, LanguageModel]) -> None:
    """Checks that models with a task have the same: of labels those of one name, in one order.

    Args:
        models: by name, for the message; language models are not looked at.

    Raises:
        UserError: they differ; nothing is put into another order silently.
    """
    kinds = {name: model.anatomy.predicts for name, model in models.items() if _has_task(model)}
    if len({*kinds.values()}) > 1:
        told = " and ".join(f"the {name} predicts {kind.value}" for name, kind in kinds.items())
        raise UserError(
            f"{told[0].upper()}{told[1:]}: their outputs cannot be compared. Give models with one "
            "kind of head (PretrainedStudent.head)."
        )
    known = {name: model.labels for name, model in models.items() if model.anatomy.has_labels}
    if len({*map(tuple, known.values())}) < 2:
        return
    (one, first), *others = known.items()
    two, second = next((name, own) for name, own in others if own != first)
    how = "in another order" if sorted(first) == sorted(second) else "and not the same ones"
    raise UserError(
        f"The {one} has the labels {_listed(first)} and the {two} {_listed(second)}, {how}: "
        "their outputs would be compared label by wrong label. Start the student from the teacher "
        "(LayerCopyStudent, FreshStudent), or name its labels in the teacher's order "
        "(PretrainedStudent.labels)."
    )


def task_of(data: TaskHead, teacher: LanguageModel | None) -> TaskHead:
    """The head that the data needs: its labels in the order of the teacher, if it knows them.

    Args:
        data: what the data says; its labels may be numbers of the teacher's.
        teacher: the first one, or None.

    Raises:
        UserError: the data has labels that the teacher has not.
    """
    if teacher is None or teacher.anatomy.predicts != data.predicts or not data.labels:
        return data
    numbers = {str(number) for number in range(teacher.outputs)}
    unknown = [label for label in data.labels if label not in teacher.labels]
    if unknown and not {*data.labels} <= numbers:
        raise UserError(
            f"The data has {len(data.labels)} labels, and the teacher, which has {teacher.outputs} "
            f"({_listed(teacher.labels)}), says nothing about {_listed(unknown)}: leave these out "
            "of the data, or learn from a teacher that was fine-tuned on all of them (FineTune)."
        )
    return TaskHead(data.predicts, tuple(teacher.labels))


def _has_task(model: LanguageModel) -> bool:
    return model.anatomy.has_task


def _listed(labels: list[str]) -> str:
    more = f", ... ({len(labels)})" if len(labels) > 8 else ""
    return ", ".join(labels[:8]) + more
