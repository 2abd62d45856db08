"""Tables that a config ties and a file holds apart: T5 v1.1, mT5, a merged adapter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from callbacks.saving.student_folder import Training, write_student
from lit_distill.models import (
    FreshStudent,
    LanguageModel,
    LayerCopyStudent,
    PretrainedStudent,
    Student,
    TeacherSpec,
    student_from_state,
    student_state,
)
from lit_distill.models.architectures.table import anatomy_of_type
from lit_distill.models.body.ties import differing_names

ALL = LayerCopyStudent("first", num_layers=4)


@pytest.fixture
def two_tables(
    tmp_path: Path, make_model: Callable[..., PreTrainedModel], family: str
) -> tuple[Path, PreTrainedModel]:
    """A folder whose config says tied (or whose class ties) and whose file has a head of its own.

    And the same model as plain Transformers open it: the right values.
    """
    changes: dict[str, Any] = {"tie_word_embeddings": family not in ("t5", "mt5")}
    model, folder = make_model(family, **changes), tmp_path / "source"
    model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    head = f"{anatomy_of_type(family).lm_head_path}.weight"
    weights[head] = torch.randn_like(model.get_input_embeddings().weight)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    if not changes["tie_word_embeddings"]:  # as Google's files say
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    opened = type(model).from_pretrained(folder)
    assert torch.equal(opened.state_dict()[head], weights[head])
    return folder, opened


def logits(model: PreTrainedModel) -> Tensor:
    ids = torch.tensor([[5, 9, 7, 12], [8, 6, 11, 2]])
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids), **more).logits


def exported(student: LanguageModel, folder: Path, weights: dict[str, Tensor]) -> PreTrainedModel:
    """What plain Transformers make of the folder that a run would export."""
    state = json.loads(json.dumps(student_state(student)))
    description: dict[str, Any] = {
        "students": {"student": state}, "tokenizer": {}, "teachers": {}, "config": "", "method": "M"
    }  # fmt: skip
    write_student(folder, "student", description, weights, Training(1))
    plain, report = type(student.model).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    return plain


@pytest.mark.rotated(2)
@pytest.mark.parametrize("start", ["carved", "pretrained"])
def test_a_head_of_its_own_survives_carving_checkpoint_and_export(
    two_tables: tuple[Path, PreTrainedModel], tmp_path: Path, start: str, family: str
) -> None:
    folder, source = two_tables
    right = logits(source)
    how: Student = ALL if start == "carved" else PretrainedStudent(str(folder))
    student = how.build(TeacherSpec(str(folder)).build(), 0)
    assert torch.equal(logits(student.model), right)
    with torch.no_grad():  # an update of either table moves the other no longer
        student.anatomy.lm_head(student.model).weight.mul_(-1)
    assert not torch.equal(logits(student.model), right)
    weights = student.state_dict()
    restored = student_from_state(json.loads(json.dumps(student_state(student))))
    restored.load_state_dict(weights, strict=True)
    assert torch.equal(logits(restored.model), logits(student.model))
    plain = exported(student, tmp_path / "export", weights)
    torch.testing.assert_close(logits(plain), logits(student.model), rtol=0, atol=1e-5)
    config = json.loads((tmp_path / "export/config.json").read_text())
    assert config["tie_word_embeddings"] is False  # what versions believe that look at it alone
    assert student.config.tie_word_embeddings is True  # the run's own is as it was


@pytest.mark.parametrize("family", ["bert", "llama", "t5", "bart"])
def test_checkpoints_of_the_first_release_are_read_by_their_values(
    two_tables: tuple[Path, PreTrainedModel], tmp_path: Path
) -> None:
    folder, source = two_tables
    student = PretrainedStudent(str(folder)).build(None, 0)
    state, weights = student_state(student), student.state_dict()
    del state["separate"]
    restored = student_from_state(state, weights)
    restored.load_state_dict(weights, strict=True)
    assert torch.equal(logits(restored.model), logits(source))


def test_what_is_shared_stays_one_table(
    make_model: Callable[..., PreTrainedModel], family: str, tmp_path: Path
) -> None:
    teacher = LanguageModel(make_model(family, tie_word_embeddings=True))
    student = ALL.build(teacher, 0)
    copies = {name: value.clone() for name, value in student.state_dict().items()}  # as of pieces
    assert student_state(student)["separate"] == []
    restored = student_from_state(student_state(student), copies)
    restored.load_state_dict(copies)
    for model in (student, restored):
        decoder, table = model.anatomy.lm_head(model.model), model.model.get_input_embeddings()
        assert decoder.weight is table.weight
    plain = exported(student, tmp_path / "export", copies)
    assert plain.config.tie_word_embeddings is True
    torch.testing.assert_close(logits(plain), logits(teacher.model), rtol=0, atol=1e-5)


def test_values_decide_and_an_absent_name_does_not(make_model: Callable[..., Any]) -> None:
    model = make_model("llama", tie_word_embeddings=True)
    same, other = torch.ones(2, 2), torch.zeros(2, 2)
    names = ("lm_head.weight", "model.embed_tokens.weight")
    assert differing_names(model, dict(zip(names, (same, other), strict=True))) == [names[0]]
    assert differing_names(model, dict(zip(names, (same, same.clone()), strict=True))) == []
    assert differing_names(model, {names[0]: same}) == []


@pytest.mark.parametrize("family", ["bert", "llama", "t5", "bart"])
@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}])
def test_a_fresh_student_of_an_untied_teacher_is_untied(
    two_tables: tuple[Path, PreTrainedModel], changes: dict[str, Any]
) -> None:
    folder, _ = two_tables
    torch.manual_seed(1)
    student = FreshStudent(config=changes).build(TeacherSpec(str(folder)).build(), 0)
    decoder, table = student.anatomy.lm_head(student.model), student.model.get_input_embeddings()
    assert decoder.weight is not table.weight
    assert not torch.equal(decoder.weight, table.weight)
    tied = FreshStudent(config={"tie_word_embeddings": True})
    again = tied.build(TeacherSpec(str(folder)).build(), 0)
    assert again.anatomy.lm_head(again.model).weight is again.model.get_input_embeddings().weight
