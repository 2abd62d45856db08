"""Students in checkpoints: what is kept of one, and how it is built again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lit_distill.models.architectures.table import anatomy_of
from lit_distill.models.body.absent import absent
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.body.ties import differing_names, keep_apart, separate_names
from lit_distill.models.students.fresh_model import fresh_model
from lit_distill.models.students.surgery import operate, surgery_from


def student_state(model: LanguageModel) -> dict[str, Any]:
    """What a checkpoint needs to build the student again, as plain JSON values.

    That is its config, which tables are its own although the config ties them, which modules of its
    class it has not, and what was changed after it was built.
    """
    config = json.loads(model.config.to_json_string(use_diff=False))
    return {
        "config": {**config, "architectures": [model.anatomy.architecture]},
        "separate": separate_names(model.model),
        "surgeries": list(model.surgeries),
        "notes": list(model.notes),
        "absent": absent(model.model, model.anatomy),
    }


def student_from_state(
    state: dict[str, Any], weights: Mapping[str, Tensor] | None = None
) -> LanguageModel:
    """A student of the saved shape in float32; its weights are to be loaded into it.

    Args:
        state: of `student_state`; one of the first release does not say which tables are separate,
            which modules are absent, and knows of no surgeries.
        weights: its state dict, if at hand: tables of different values are separate as well.

    Raises:
        UserError: its architecture is not supported, or a surgery of its is not at hand.
    """
    anatomy = anatomy_of(state["config"]["architectures"][0], state["config"])
    config = anatomy.model_class().config_class.from_dict(state["config"])
    student = fresh_model(anatomy, config, state.get("absent", ()))
    apart = set(state.get("separate", ()))
    if weights is not None:
        named = {name.removeprefix("model."): value for name, value in weights.items()}
        apart.update(differing_names(student.model, named))
    keep_apart(student.model, sorted(apart))
    operate(student, map(surgery_from, state.get("surgeries", ())))
    student.notes = list(state.get("notes", ()))
    return student
