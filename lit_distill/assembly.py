"""From specifications to models that fit each other and the data."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase

from lit_distill.models import (
    LanguageModel,
    Student,
    Teacher,
    check_models,
    share_vocabulary,
)


def build_models(
    student: Student,
    teachers: dict[str, Teacher],
    tokenizer: PreTrainedTokenizerBase | None,
    data: Any,
) -> tuple[LanguageModel, dict[str, LanguageModel]]:
    """Opens the teachers, makes the student (of the first, if it is carved), and checks them.

    Args:
        student: how it starts.
        teachers: by name, the first one first.
        tokenizer: of the run, if known.
        data: the data module, or None.

    Returns:
        The student, and the teachers by name.

    Raises:
        UserError: one cannot be opened, or they do not fit.
    """
    built = {name: spec.build() for name, spec in teachers.items()}
    made = student.build(next(iter(built.values()), None), len(tokenizer or ()))
    for name, spec in teachers.items():
        check_models(made, built[name], spec, tokenizer, data)
    if not teachers:
        check_models(made, None, None, tokenizer, data)
    share_vocabulary([made, *built.values()], tokenizer)
    return made, built
