"""A model of a config with fresh weights: what every start and every checkpoint begins from."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from transformers import PretrainedConfig

from lit_distill.models.architectures.anatomy import Anatomy
from lit_distill.models.body.absent import absent, leave_out
from lit_distill.models.body.language_model import LanguageModel


def absent_in(teacher: LanguageModel | None, anatomy: Anatomy) -> list[str]:
    """Optional modules that a student goes without because its teacher does."""
    missing = [] if teacher is None else absent(teacher.model, teacher.anatomy)
    return [path for path in anatomy.optional if path in missing]


def fresh_model(
    anatomy: Anatomy, config: PretrainedConfig, without: Iterable[str] = ()
) -> LanguageModel:
    """A model with fresh float32 weights, tied as its config says, without some modules."""
    config.architectures, config.dtype = [anatomy.architecture], torch.float32
    # What a class builds follows torch's default dtype, which a trainer's precision may have set.
    model = anatomy.model_class()(config).to(torch.float32)
    leave_out(model, without)
    return LanguageModel(model).eval()
