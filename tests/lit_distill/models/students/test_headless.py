"""Bodies without a head: opened, carved, exported and loaded as what they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, samples
from lightning.pytorch import Trainer
from transformers import AutoModel, BertModel, PreTrainedModel

from callbacks import ExportStudent
from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.methods import MiniLMv2, SupervisedKD
from lit_distill.models import (
    ANATOMIES,
    FreshStudent,
    LanguageModel,
    LayerCopyStudent,
    PretrainedStudent,
    Student,
    TeacherSpec,
    load_tokenizer,
    student_from_state,
    student_state,
)
from lit_distill.tools.export import export

BODIES = [row for row in ANATOMIES if not row.has_head]


def saved_body(model: PreTrainedModel, folder: Path, pooler: bool = True) -> Path:
    """A folder with the body of a model with a head, as sentence encoders are saved."""
    body = type(model.base_model)(model.config)
    body.load_state_dict(model.base_model.state_dict(), strict=False)
    if not pooler:
        body.pooler = None
    body.save_pretrained(folder)
    return folder


@pytest.fixture(params=BODIES, ids=lambda row: row.architecture)
def body(
    request: pytest.FixtureRequest, make_model: Callable[..., PreTrainedModel], tmp_path: Path
) -> Path:
    return saved_body(make_model(request.param.model_type), tmp_path / "body")


def loads_whole(folder: Path, architecture: str) -> dict[str, torch.Tensor]:
    """The weights that `AutoModel` reads, without a missing or an unexpected one."""
    model, report = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert type(model).__name__ == architecture
    assert model.config.architectures == [architecture]
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    return dict(model.state_dict())


@torch.no_grad()
def test_it_is_opened_as_the_body_of_the_model_with_a_head(
    body: Path,
    make_batch: Callable[..., Batch],
    make_model: Callable[..., PreTrainedModel],
) -> None:
    found = TeacherSpec(str(body)).build(needs_head=False)
    whole = LanguageModel(make_model(found.config.model_type))
    batch = make_batch(whole)
    assert type(found.model).__name__ == found.anatomy.architecture
    assert torch.equal(found.encode(batch).hidden, whole.encode(batch).hidden)
    assert found.vocab_size == 40
    with pytest.raises(UserError, match=r"has no language-model head, so it gives no logits"):
        found.logits(torch.zeros(1, 16))


@torch.no_grad()
def test_carved_and_fresh_students_have_no_head_either(
    body: Path, make_batch: Callable[..., Batch], tmp_path: Path
) -> None:
    teacher = TeacherSpec(str(body)).build(needs_head=False)
    batch = make_batch(teacher)
    carved = LayerCopyStudent("first", 2).build(teacher, 0, needs_head=False)
    states = teacher.encode(batch, last_layer=1).hidden
    assert torch.equal(carved.encode(batch, last_layer=1).hidden, states)
    fresh = FreshStudent(config={"num_hidden_layers": 2}).build(teacher, 0, needs_head=False)
    for number, student in enumerate((carved, fresh)):
        assert student.anatomy == teacher.anatomy
        again = student_from_state(student_state(student))
        again.load_state_dict(student.state_dict(), strict=True)
        folder = tmp_path / str(number)
        again.model.save_pretrained(folder)
        weights = loads_whole(folder, teacher.anatomy.architecture)
        assert weights.keys() == student.model.state_dict().keys()
        assert all(torch.equal(weights[k], v) for k, v in student.model.state_dict().items())
    continued = PretrainedStudent(str(folder)).build(teacher, 0, needs_head=False)
    assert continued.anatomy == teacher.anatomy
    typed = FreshStudent("bert", {**SMALL, "num_hidden_layers": 1}).build(teacher, 0, False)
    assert typed.anatomy.architecture == "BertModel"


SMALL = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}


@torch.no_grad()
def test_a_pooler_that_a_file_lacks_is_not_drawn_at_random(
    make_model: Callable[..., PreTrainedModel], make_batch: Callable[..., Batch], tmp_path: Path
) -> None:
    folder = saved_body(make_model("bert"), tmp_path / "body", pooler=False)
    teacher = TeacherSpec(str(folder)).build(needs_head=False)
    assert isinstance(teacher.model, BertModel)
    assert teacher.model.pooler is None
    for start in (LayerCopyStudent(), FreshStudent(), PretrainedStudent(str(folder))):
        student = start.build(teacher, 0, needs_head=False)
        assert not [name for name in student.state_dict() if "pooler" in name]
        again = student_from_state(student_state(student))
        again.load_state_dict(student.state_dict(), strict=True)
        assert again.encode(make_batch(again)).hidden.isfinite().all()


@torch.no_grad()
def test_a_bert_without_a_head_becomes_a_distilbert_without_one(
    make_model: Callable[..., PreTrainedModel], make_batch: Callable[..., Batch], tmp_path: Path
) -> None:
    folder = saved_body(make_model("bert", layer_norm_eps=1e-12), tmp_path / "body")
    teacher = TeacherSpec(str(folder)).build(needs_head=False)
    student = LayerCopyStudent([0, 1], distilbert=True).build(teacher, 0, needs_head=False)
    assert student.anatomy.architecture == "DistilBertModel"
    batch = make_batch(teacher)
    states = teacher.encode(batch, last_layer=1).hidden
    torch.testing.assert_close(student.encode(batch, last_layer=1).hidden, states)


def test_a_checkpoint_that_lost_its_head_is_a_body_where_nobody_asks_for_logits(
    make_model: Callable[..., PreTrainedModel], tmp_path: Path
) -> None:
    folder = saved_body(make_model("bert"), tmp_path / "body")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"BertModel"', '"BertForMaskedLM"'))
    assert TeacherSpec(str(folder)).build(needs_head=False).anatomy.architecture == "BertModel"
    with pytest.raises(UserError, match=r"has no language-model head \(missing: cls"):
        TeacherSpec(str(folder)).build()
    drawn = PretrainedStudent(str(folder), fresh_head=True).build(None, 0, needs_head=False)
    assert drawn.anatomy.architecture == "BertForMaskedLM"


@pytest.fixture
def encoder(tiny_bert: Path, tmp_path: Path) -> Path:
    """A folder like all-MiniLM-L6's: a BERT without a head, and its tokenizer."""
    folder = saved_body(TeacherSpec(str(tiny_bert)).build().model, tmp_path / "encoder")
    load_tokenizer(str(tiny_bert)).save_pretrained(folder)
    return folder


def fitted(folder: Path, method: Any, tokenizer: Path, steps: int, **where: Any) -> Trainer:
    batch = collate(samples(8, 100))
    data = Served([[batch]] * 4, [batch], load_tokenizer(str(tokenizer)))
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[ExportStudent()],
    )
    trainer.fit(method, datamodule=data, **where)
    return trainer


@pytest.mark.parametrize(
    "start", [LayerCopyStudent(num_layers=2), FreshStudent(config=SMALL), None], ids=str
)
def test_minilm_learns_from_it_goes_on_and_is_exported_like_it(
    start: Student | None, encoder: Path, tmp_path: Path
) -> None:
    other = BertModel.from_pretrained(encoder)
    with torch.no_grad():  # whose losses are not the least that there can be
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    other.save_pretrained(tmp_path / "other")

    def method() -> MiniLMv2:
        student = start or PretrainedStudent(str(tmp_path / "other"))
        return MiniLMv2(
            relation_heads=2, teacher=TeacherSpec(str(encoder)), student=student, dropout=0.0
        )

    first = fitted(tmp_path / "first", method(), encoder, 1)
    assert float(first.callback_metrics["val/loss"]) >= 0
    checkpoint = tmp_path / "first.ckpt"
    first.save_checkpoint(checkpoint)
    second = fitted(tmp_path / "second", method(), encoder, 2, ckpt_path=checkpoint)
    assert second.global_step == 2
    weights = loads_whole(tmp_path / "second/student", "BertModel")
    ours = second.lightning_module.students["student"].model.state_dict()  # type: ignore[index]
    assert all(torch.equal(value, ours[name]) for name, value in weights.items())
    card = (tmp_path / "second/student/README.md").read_text()
    assert "AutoModel.from_pretrained(folder)" in card
    assert "pipeline_tag: feature-extraction" in card
    assert "head was not trained" not in card
    (folder,) = export(str(checkpoint), str(tmp_path / "exported")).values()
    loads_whole(folder, "BertModel")


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_methods_of_logits_refuse_it_in_one_line(
    role: str, encoder: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    teacher, student = (encoder, tiny_bert) if role == "teacher" else (tiny_bert, encoder)
    method = SupervisedKD(
        teacher=TeacherSpec(str(teacher)), student=PretrainedStudent(str(student))
    )
    with pytest.raises(UserError, match=r"encoder has no language-model head.*MiniLMv2"):
        fitted(tmp_path, method, tiny_bert, 1)


def test_a_head_may_begin_on_the_body_of_a_teacher(body: Path) -> None:
    """All of the body is the teacher's, and what it computes."""
    teacher = TeacherSpec(str(body)).build(needs_head=False)
    every = list(range(len(teacher.layers)))
    student = LayerCopyStudent(layers=every, fresh_head=True).build(teacher, 0)
    assert student.anatomy.has_head
    own, prefix = student.model.state_dict(), student.model.base_model_prefix
    for name, value in teacher.model.state_dict().items():
        assert "pooler" in name or torch.equal(own[f"{prefix}.{name}"], value), name
    ids = torch.arange(5, 12)[None]
    found = student.model.base_model(input_ids=ids).last_hidden_state
    assert torch.equal(found, teacher.model(input_ids=ids).last_hidden_state)
    table, head = student.model.get_input_embeddings(), student.model.get_output_embeddings()
    assert (head.weight is table.weight) == student.config.tie_word_embeddings
    assert not LayerCopyStudent(layers=every).build(teacher, 0).anatomy.has_head
