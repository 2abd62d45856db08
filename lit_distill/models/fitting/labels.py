"""Whether the labels of classifiers mean the same, and can be learnt."""

from __future__ import annotations

from collections.abc import Mapping

from lit_distill.errors import UserError
from lit_distill.models.body.language_model import LanguageModel


def check_classifier(model: LanguageModel, name: str) -> None:
    """Checks that a classifier chooses one of its labels.

    Args:
        model: student or teacher; a language model is not looked at.
        name: "student" or "teacher", for the message.

    Raises:
        UserError: it has one output (a regression), or any number of its labels hold at once.
    """
    if not model.anatomy.has_labels:
        return
    kind = model.config.problem_type
    if model.outputs < 2 or kind in ("regression", "multi_label_classification"):
        raise UserError(
            f"The {name} has {model.outputs} output(s) and problem_type {kind or 'none'}: losses "
            "here are of one label out of several (single_label_classification). Give a "
            "classifier with two labels or more of which one holds."
        )


def check_same_labels(models: Mapping[str, LanguageModel]) -> None:
    """Checks that models with labels have the same ones in the same order, by name.

    Args:
        models: by name, for the message; language models are not looked at.

    Raises:
        UserError: they differ; nothing is put into another order silently.
    """
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


def _listed(labels: list[str]) -> str:
    more = f", ... ({len(labels)})" if len(labels) > 8 else ""
    return ", ".join(labels[:8]) + more
