from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lit_distill.errors import UserError
from lit_distill.models import LanguageModel, TeacherSpec, fingerprint


def test_a_teacher_is_frozen_and_in_eval_mode(saved: Path):
    teacher = TeacherSpec(str(saved)).build()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    ids = torch.randint(5, 40, (2, 6))
    encoded = teacher.encode({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert not encoded.hidden.requires_grad


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_teachers_dtype_is_what_was_asked_for(saved: Path, dtype: str):
    teacher = TeacherSpec(str(saved), dtype=dtype).build()
    assert {parameter.dtype for parameter in teacher.parameters()} == {getattr(torch, dtype)}


def test_a_teacher_without_a_head_is_refused(bert: LanguageModel, tmp_path: Path):
    bert.model.bert.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="has no language-model head"):
        TeacherSpec(str(tmp_path)).build()


def test_a_fingerprint_survives_saving_and_sees_every_change(model: LanguageModel, tmp_path: Path):
    first = fingerprint(model)
    assert len(first) == 64
    model.model.save_pretrained(tmp_path)
    loaded = TeacherSpec(str(tmp_path)).build()
    assert fingerprint(loaded) == first
    name, weight = list(loaded.named_parameters())[-1]
    with torch.no_grad():
        weight.view(-1)[-1] += 1e-3
    assert fingerprint(loaded) != first, name
    half = TeacherSpec(str(tmp_path), dtype="bfloat16").build()
    assert len({fingerprint(half), fingerprint(loaded), first}) == 3
    assert fingerprint(half) == fingerprint(half)
