"""Exported students stop where texts ended in training, and their cards name the right class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from architectures import random_model
from batches import collate, samples
from cohorts import fit
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GPT2LMHeadModel

from callbacks import ExportStudent
from callbacks.saving.student_folder import Training, write_student
from lit_distill.__main__ import main
from lit_distill.methods import MaskedLM, SupervisedKD
from lit_distill.models import (
    ANATOMIES,
    FreshStudent,
    LanguageModel,
    LayerCopyStudent,
    PretrainedStudent,
    TeacherSpec,
    student_state,
)
from lit_distill.models.architectures.anatomy import Anatomy

CAUSAL = [collate(samples(4, 100, seed=seed), causal=True) for seed in range(8)]


def folder_with(source: Path, folder: Path, tokenizer_end: int, **generation: Any) -> Path:
    """A copy of a decoder whose tokenizer and generation config say where texts end."""
    model, tokenizer = (
        GPT2LMHeadModel.from_pretrained(source),
        AutoTokenizer.from_pretrained(source),
    )
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(tokenizer_end)
    tokenizer.save_pretrained(folder)
    model.generation_config = GenerationConfig(**generation)
    model.save_pretrained(folder)
    return folder


def ends_of(folder: Path) -> set[int]:
    ids = GenerationConfig.from_pretrained(folder).eos_token_id
    return {ids} if isinstance(ids, int) else set(ids)


@pytest.mark.parametrize(("teachers", "expected"), [(4, {2, 4}), ([4, 5], {2, 4, 5})])
def test_a_base_student_of_an_instructed_teacher_stops(
    teachers: Any, expected: set[int], tiny_gpt2: Path, tmp_path: Path
) -> None:
    """With the teacher's tokenizer, whose EOS and whose model's list the base model lacks."""
    base = folder_with(tiny_gpt2, tmp_path / "base", 2, eos_token_id=2, max_new_tokens=7)
    chat = folder_with(tiny_gpt2, tmp_path / "chat", 4, eos_token_id=teachers, bos_token_id=1)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "eos_token_id": 2}))
    config = json.loads((chat / "config.json").read_text())
    (chat / "config.json").write_text(json.dumps({**config, "eos_token_id": 4}))
    method = SupervisedKD(student=PretrainedStudent(str(base)), teacher=TeacherSpec(str(chat)))
    run = fit(
        method, chat, updates=1, callbacks=[ExportStudent()], batches=CAUSAL,
        default_root_dir=tmp_path / "run",
    )  # fmt: skip
    run.save_checkpoint(tmp_path / "a.ckpt")
    assert main(["export", str(tmp_path / "a.ckpt"), "--output", str(tmp_path / "later")]) == 0
    for folder in (tmp_path / "run" / "student-last", tmp_path / "later"):
        assert ends_of(folder) == expected
        kept = GenerationConfig.from_pretrained(folder)
        assert kept.max_new_tokens == 7  # its own settings stay
        assert kept.pad_token_id == AutoTokenizer.from_pretrained(chat).pad_token_id
        model = AutoModelForCausalLM.from_pretrained(folder)
        for end in expected:  # plain generate() ends with each of them
            with torch.no_grad():
                bias = torch.full((model.config.vocab_size,), -1e4)
                bias[end] = 1e4
                model.lm_head.bias = torch.nn.Parameter(bias)
            written = model.generate(torch.tensor([[6, 7]]), do_sample=False)
            assert written.tolist() == [[6, 7, end]]


def test_a_carved_student_writes_as_its_teacher(tiny_gpt2: Path, tmp_path: Path) -> None:
    given = {"eos_token_id": [2, 3], "temperature": 0.7, "do_sample": True, "top_k": 9}
    teacher = folder_with(tiny_gpt2, tmp_path / "teacher", 2, **given)
    method = SupervisedKD(student=LayerCopyStudent(num_layers=2), teacher=TeacherSpec(str(teacher)))
    fit(
        method, teacher, updates=1, callbacks=[ExportStudent()], batches=CAUSAL,
        default_root_dir=tmp_path,
    )  # fmt: skip
    config = GenerationConfig.from_pretrained(tmp_path / "student-last")
    assert {name: getattr(config, name) for name in given} == given


def test_settings_that_transformers_refuses_to_save_cost_no_student(
    tiny_gpt2: Path, tmp_path: Path
) -> None:
    teacher = folder_with(tiny_gpt2, tmp_path / "teacher", 2, eos_token_id=[2, 3])
    odd = {"eos_token_id": [2, 3], "temperature": 0.7, "do_sample": False}
    (teacher / "generation_config.json").write_text(json.dumps(odd))
    method = SupervisedKD(student=LayerCopyStudent(num_layers=2), teacher=TeacherSpec(str(teacher)))
    fit(
        method, teacher, updates=1, callbacks=[ExportStudent()], batches=CAUSAL,
        default_root_dir=tmp_path,
    )  # fmt: skip
    assert ends_of(tmp_path / "student-last") == {2, 3}


def test_models_that_do_not_write_have_no_generation_config(
    tiny_bert: Path, tmp_path: Path
) -> None:
    method = MaskedLM(student=FreshStudent("bert", {"hidden_size": 16, "num_attention_heads": 2}))
    fit(method, tiny_bert, updates=1, callbacks=[ExportStudent()], default_root_dir=tmp_path)
    assert not (tmp_path / "student-last" / "generation_config.json").exists()


@pytest.mark.parametrize("anatomy", ANATOMIES, ids=lambda anatomy: anatomy.architecture)
def test_a_card_names_the_class_that_loads_the_student(anatomy: Anatomy, tmp_path: Path) -> None:
    """With all weights and no other ones: a class of another kind would draw a head at random."""
    model = LanguageModel(random_model(anatomy))
    description = {
        "students": {"student": student_state(model)}, "tokenizer": {},
        "teachers": {}, "method": "SupervisedKD", "config": "", "notes": [],
    }  # fmt: skip
    write_student(tmp_path / "s", "student", description, model.state_dict(), Training(updates=1))
    card = (tmp_path / "s/README.md").read_text("utf-8")
    (name,) = {word for word in card.split() if word.startswith("AutoModel") and "." not in word}
    loaded, report = getattr(transformers, name.rstrip(",")).from_pretrained(
        tmp_path / "s", output_loading_info=True
    )
    assert type(loaded) is anatomy.model_class()
    assert not any(report.values()), report
    for key, value in model.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    kind = card.split("pipeline_tag: ")[1].split("\n")[0]
    assert (
        kind
        == {
            "AutoModel": "feature-extraction",
            "AutoModelForMaskedLM": "fill-mask",
            "AutoModelForCausalLM": "text-generation",
            "AutoModelForSeq2SeqLM": "translation"
            if anatomy.model_type in ("marian", "mbart", "m2m_100")
            else "text2text-generation",
            "AutoModelForSequenceClassification": "text-classification",
            "AutoModelForTokenClassification": "token-classification",
            "AutoModelForMultipleChoice": "multiple-choice",
            "AutoModelForQuestionAnswering": "question-answering",
        }[name.rstrip(",")]
    )
    assert ("- labels: bad, fair, good" in card) == anatomy.has_labels
    assert f"# {anatomy.predicts.noun.capitalize()}\n" in card
    if anatomy.has_task:
        assert loaded.config.id2label == model.config.id2label
