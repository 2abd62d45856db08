"""A student as a plain Hugging Face folder, which loads without this project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers.utils import logging

from callbacks.saving.model_card import Training, model_card
from lit_distill.files.atomic_files import replacing
from lit_distill.files.output_folders import mark
from lit_distill.files.seen_texts import SeenTexts
from lit_distill.models import (
    declare_separate,
    restore_generation,
    shortest_module_names,
    student_from_state,
    undo,
    write_exported,
    write_tokenizer_files,
)

Precision = Literal["float32", "bfloat16", "float16"]


def write_student(
    folder: Path,
    name: str,
    description: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    training: Training,
    dtype: Precision = "float32",
    exported: Mapping[str, Tensor] | None = None,
    seen: SeenTexts | None = None,
) -> None:
    """Writes weights, config, tokenizer, model card and the run's config; all or nothing.

    Needs no teacher, and draws no random numbers that a run would miss.

    Args:
        folder: replaced if it exists; `check_output` says whether that loses anything.
        name: of the student, in `description`.
        description: what a checkpoint holds under `lit_distill.training.checkpoints.KEY`.
        weights: the state dict of the student's `LanguageModel`.
        training: for the card.
        dtype: of the written weights.
        exported: the state dict of the run's `exported` modules, if it has any.
        seen: what it has read, if that is known.
    """
    with torch.random.fork_rng(devices=[]):  # fresh weights are drawn, then overwritten
        student = student_from_state(description["students"][name], weights)
    student.load_state_dict(weights, strict=True)
    own = description["students"][name].get("generation")  # the first release noted none
    restore_generation(student, own, description.get("endings", ()), description.get("padding"))
    # names of a changed student mean nothing in a plain one, whose notes say what was trained
    untrained = () if student.surgeries else shortest_module_names(training.untrained, student)
    student_dtype = getattr(torch, dtype)
    with replacing(folder) as beside:
        undo(student, beside)
        declare_separate(student.model)
        shows_progress = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        student.model.to(student_dtype).save_pretrained(beside)
        if shows_progress:
            logging.enable_progress_bar()
        write_exported(beside, description.get("exported", {}), exported or {}, student_dtype)
        write_tokenizer_files(beside, description["tokenizer"])
        card = model_card(name, description, replace(training, untrained=untrained))
        (beside / "README.md").write_text(card, encoding="utf-8")
        if description["config"]:
            (beside / "config.yaml").write_text(description["config"], encoding="utf-8")
        if seen is not None:
            seen.write(beside)
        mark(beside)
