from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from lit_distill.errors import UserError
from lit_distill.models import (
    FreshStudent,
    LanguageModel,
    LayerCopyStudent,
    PretrainedStudent,
    Student,
    TeacherSpec,
    fingerprint,
    student_from_state,
    student_state,
)


def test_a_pretrained_student_is_the_saved_model_in_float32(
    family: str, tmp_path: Path, make_model
):
    model = make_model(family).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    student = PretrainedStudent(str(tmp_path)).build(None, 0)
    assert student.config.dtype == torch.float32
    for name, value in student.model.named_parameters():
        assert value.dtype == torch.float32
        if value.requires_grad:  # Marian computes its positions
            assert torch.equal(value, model.state_dict()[name].float())


def test_a_fresh_student_starts_from_the_teachers_config(model: LanguageModel):
    config = model.config.to_dict()
    shape = {"hidden_size": 8, model.anatomy.layer_count: 3}
    student = FreshStudent(config=shape).build(model, 0)
    feed_forward = student.anatomy.intermediate_sizes[-1]
    assert type(student.model) is type(model.model)
    assert student.config.hidden_size == 8
    assert len(student.layers) == 3
    expected = None if feed_forward == "n_inner" else 12  # 24 * 8 / 16; GPT-2's follows by itself
    assert getattr(student.config, feed_forward) == expected
    kinds = config.get("layer_types")
    assert getattr(student.config, "layer_types", None) == (kinds and kinds[:3])
    assert student.vocab_size == 40
    assert student.config.pad_token_id == model.config.pad_token_id
    assert not student.training
    given = FreshStudent(config={"hidden_size": 8, feed_forward: 10}).build(model, 0)
    assert getattr(given.config, feed_forward) == 10
    assert model.config.to_dict() == config
    same = FreshStudent().build(model, 0)
    assert student_state(same)["config"].keys() == student_state(model)["config"].keys()
    assert not torch.equal(
        same.model.get_input_embeddings().weight, model.model.get_input_embeddings().weight
    )


def test_a_narrower_llama_keeps_its_shape(make_model: Callable[..., Any]):
    llama = LanguageModel(make_model("llama"))
    assert llama.config.head_dim == 4
    assert FreshStudent(config={"hidden_size": 8}).build(llama, 0).config.head_dim == 2
    gemma = LanguageModel(make_model("gemma"))  # whose heads are as wide as it says
    assert FreshStudent(config={"hidden_size": 8}).build(gemma, 0).config.head_dim == 8


def test_a_fresh_student_starts_from_a_types_defaults(bert: LanguageModel):
    small = {"num_hidden_layers": 1, "hidden_size": 24, "num_attention_heads": 2}
    student = FreshStudent("distilbert", small).build(None, 33)
    assert student.config.model_type == "distilbert"
    assert student.vocab_size == 33
    assert student.config.hidden_dim == 3072 * 24 // 768
    assert FreshStudent("bert", {**small, "vocab_size": 21}).build(None, 33).vocab_size == 21
    taught = FreshStudent("roberta", small).build(bert, 33)
    assert taught.vocab_size == 40
    assert taught.config.pad_token_id == bert.config.pad_token_id == 0
    assert taught.max_length == 511


def test_a_fresh_student_is_float32_under_any_default_dtype(bert: LanguageModel):
    torch.set_default_dtype(torch.bfloat16)
    try:
        student = FreshStudent().build(bert, 0)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {parameter.dtype for parameter in student.parameters()} == {torch.float32}
    assert (
        student.model.get_input_embeddings().weight is student.anatomy.lm_head(student.model).weight
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (FreshStudent(), r"neither a teacher .* nor a model_type"),
        (FreshStudent("bert"), r"does not know its vocab_size: give a tokenizer"),
        (FreshStudent("gpt5"), r"'gpt5' is not supported.*Supported: bert, distilbert"),
        (
            FreshStudent("bert", {"vocab_size": 9, "num_hiden_layers": 2}),
            r"A bert config has no key 'num_hiden_layers': did you mean 'num_hidden_layers'\?",
        ),
        (
            FreshStudent("bert", {"vocab_size": 9, "xyzzy": 2}),
            r"no key 'xyzzy': it has .*hidden_size",
        ),
        (
            FreshStudent("bert", {"vocab_size": 9, "hidden_size": 384, "num_attention_heads": 7}),
            r"hidden_size 384 is not divisible by num_attention_heads 7: [68] heads would do",
        ),
        (
            FreshStudent("mistral", {"vocab_size": 9, "hidden_size": 64, "num_attention_heads": 4}),
            r"heads 4 is not divisible by num_key_value_heads 8: give .* as well; 4 would do",
        ),
        (
            FreshStudent("modernbert", {"vocab_size": 9}),
            r"pad_token_id 50283 is outside its vocabulary of 9: give the tokenizer's",
        ),
        (
            FreshStudent("bert", {"vocab_size": 9, "num_hidden_layers": 0}),
            r"num_hidden_layers is 0: it must be at least 1",
        ),
        (
            FreshStudent("bert", {"vocab_size": 9, "hidden_size": "wide"}),
            r"config cannot be used: .*'hidden_size' expected int, got str",
        ),
    ],
)
def test_impossible_fresh_students_say_why(spec: FreshStudent, message: str):
    with pytest.raises(UserError, match=message):
        spec.build(None, 0)


def test_a_feed_forward_width_that_does_not_scale_must_be_given(bert: LanguageModel):
    shape = {"hidden_size": 9, "num_attention_heads": 3}
    with pytest.raises(
        UserError, match=r"intermediate_size 24 does not scale with hidden_size 16 -> 9"
    ):
        FreshStudent(config=shape).build(bert, 0)
    student = FreshStudent(config={**shape, "intermediate_size": 20}).build(bert, 0)
    assert student.config.intermediate_size == 20


def test_a_state_round_trip_builds_the_same_student(model: LanguageModel, tmp_path: Path):
    student = LayerCopyStudent([0, 2]).build(model, 0)
    with torch.no_grad():
        for parameter in student.parameters():
            if parameter.requires_grad:  # Marian computes its positions
                parameter.add_(1.0)
    state = json.loads(json.dumps(student_state(student)))  # plain JSON
    torch.save({"state": state, "weights": student.state_dict()}, tmp_path / "x.ckpt")
    saved = torch.load(tmp_path / "x.ckpt", weights_only=True)
    restored = student_from_state(saved["state"])
    assert not restored.training
    missing = dict(saved["weights"])
    missing.pop(next(iter(missing)))
    with pytest.raises(RuntimeError, match="Missing key"):
        restored.load_state_dict(missing, strict=True)
    restored.load_state_dict(saved["weights"], strict=True)
    assert type(restored.model) is type(student.model)
    assert fingerprint(restored) == fingerprint(student)
    assert student_state(restored) == state
    embedding = restored.model.get_input_embeddings().weight
    tied = restored.anatomy.lm_head(restored.model).weight is embedding
    assert tied == model.config.tie_word_embeddings
    restored.model.save_pretrained(tmp_path / "export")
    auto = AutoModelForCausalLM if student.anatomy.causal else AutoModelForMaskedLM
    auto = AutoModelForSeq2SeqLM if student.reads_pairs else auto
    loaded, report = auto.from_pretrained(tmp_path / "export", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert type(loaded) is type(student.model)
    assert fingerprint(LanguageModel(loaded)) == fingerprint(student)


def test_a_state_says_float32_and_its_class_whatever_the_source(
    bert: LanguageModel, make_model: Callable[..., Any]
):
    bert.config.architectures = ["BertForPreTraining"]  # as bert-base's own file says
    bert.config.dtype = torch.bfloat16
    state = student_state(bert)
    assert state["config"]["architectures"] == ["BertForMaskedLM"]
    restored = student_from_state(state)
    assert {parameter.dtype for parameter in restored.parameters()} == {torch.float32}
    assert restored.config.dtype == torch.float32
    state["config"]["architectures"] = ["MambaForCausalLM"]
    with pytest.raises(UserError, match=r"MambaForCausalLM is not supported"):
        student_from_state(state)
    untied = LanguageModel(make_model("bert", tie_word_embeddings=False))
    restored = student_from_state(student_state(untied))
    assert restored.anatomy.lm_head(restored.model).weight is not (
        restored.model.get_input_embeddings().weight
    )


class Run:
    """Stands for a method."""

    def __init__(self, student: Student | None = None, teacher: TeacherSpec | None = None) -> None:
        self.student, self.teacher = student, teacher


@pytest.mark.parametrize(
    ("arguments", "student"),
    [
        (["--student=LayerCopyStudent"], LayerCopyStudent()),
        (["--student=LayerCopyStudent", "--student.layers=last"], LayerCopyStudent("last")),
        (["--student=LayerCopyStudent", "--student.layers=[0, 3]"], LayerCopyStudent([0, 3])),
        (
            ["--student=FreshStudent", "--student.config={hidden_size: 8, hidden_act: relu}"],
            FreshStudent(config={"hidden_size": 8, "hidden_act": "relu"}),
        ),
        (["--student=PretrainedStudent", "--student.name=x"], PretrainedStudent("x")),
    ],
)
def test_students_are_chosen_on_the_command_line(arguments: list[str], student: Student):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Run)
    parsed = parser.parse_args([*arguments, "--teacher.name=y", "--teacher.dtype=bfloat16"])
    run = parser.instantiate(parsed)
    assert run.student == student
    assert run.teacher == TeacherSpec("y", dtype="bfloat16")
