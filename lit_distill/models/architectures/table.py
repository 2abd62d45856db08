"""The architecture table: every row, and how the row of a model is found.

A row says where the parts of one class of Transformers are; see `Anatomy`. Rows are kept by kind:
`encoders`, `decoders`, `encoder_decoders`, and `task_heads` for what predicts no tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Anatomy, Predicted
from lit_distill.models.architectures.decoders import DECODERS
from lit_distill.models.architectures.encoder_decoders import ENCODER_DECODERS
from lit_distill.models.architectures.encoders import ENCODERS
from lit_distill.models.architectures.headless import headless_rows
from lit_distill.models.architectures.task_heads import TASK_HEADS

_WITH_HEADS: tuple[Anatomy, ...] = (*ENCODERS, *DECODERS, *ENCODER_DECODERS)

ANATOMIES: tuple[Anatomy, ...] = (*_WITH_HEADS, *TASK_HEADS, *headless_rows(_WITH_HEADS))

TEXT_PARTS: dict[str, tuple[str, dict[str, str]]] = {
    "gemma3": (
        "gemma3_text",
        {
            r"^(model\.)?language_model\.(model\.)?(?!lm_head)": "model.",
            r"^language_model\.lm_head": "lm_head",
        },
    ),
}
"""Types that read other media as well: the type of their text model, and its names of weights."""


def anatomy_of(architecture: str, config: Mapping[str, Any] | None = None) -> Anatomy:
    """The row of a Hugging Face class name.

    Args:
        architecture: the name.
        config: of the model, which tells whether a classifier of texts predicts a number; None: it
            does not matter.

    Raises:
        UserError: there is none; the message names those there are.
    """
    for anatomy in ANATOMIES:
        if anatomy.architecture == architecture:
            return _by_outputs(anatomy, config or {})
    supported = ", ".join(dict.fromkeys(anatomy.architecture for anatomy in ANATOMIES))
    raise UserError(
        f"The architecture {architecture} is not supported: lit_distill does not know where its "
        f"layers and its head are. Supported: {supported}."
    )


def anatomy_of_type(
    model_type: str, predicts: Predicted = Predicted.TOKENS, has_head: bool = True
) -> Anatomy:
    """The row of a config.model_type.

    Args:
        model_type: "bert", "gpt2", ...
        predicts: what the head's outputs stand for.
        has_head: of a class with such a head, or else of its body alone.

    Raises:
        UserError: there is none; the message names those there are.
    """
    rows = [row for row in ANATOMIES if row.predicts == predicts and row.has_head == has_head]
    for anatomy in rows:
        if anatomy.model_type == model_type:
            return anatomy
    raise UserError(
        f"The model type {model_type!r} is not supported: lit_distill does not know where its "
        f"layers and its head for {predicts.value} are. Supported: "
        f"{', '.join(anatomy.model_type for anatomy in rows)}."
    )


def anatomy_of_config(values: Mapping[str, Any]) -> Anatomy:
    """The row of a config.json: of the class that it names, else of its type's language model.

    A class without a row may be a body alone, or one with further heads (BertForPreTraining).

    Raises:
        UserError: the model type has no row.
    """
    named = values.get("architectures") or []
    for anatomy in ANATOMIES:
        named_here = anatomy.architecture in named and anatomy.model_type == values["model_type"]
        if named_here and anatomy.has_head:
            return _by_outputs(anatomy, values)
    return anatomy_of_type(values["model_type"])


def _by_outputs(row: Anatomy, config: Mapping[str, Any]) -> Anatomy:
    """The row of a class with the outputs that a config names: one label is a number, unnamed."""
    labels = len(config.get("id2label") or ()) or config.get("num_labels")
    single = labels == 1 and config.get("problem_type") in (None, "regression")
    if row.predicts != Predicted.TEXT_LABELS or not single:
        return row
    return anatomy_of_type(row.model_type, Predicted.TEXT_VALUE)
