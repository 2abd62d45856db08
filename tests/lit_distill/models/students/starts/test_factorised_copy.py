"""A teacher's layers below embeddings of two factors: what is kept and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import random_model
from factorised import exactly, of_gelu, width_of
from transformers import AutoModel, AutoModelForMaskedLM
from trimmed import trimmed_vocabulary

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models import (
    ANATOMIES,
    FactorisedCopyStudent,
    LanguageModel,
    LayerCopyStudent,
    Predicted,
    Student,
    TeacherSpec,
    student_from_state,
    student_state,
)
from lit_distill.models.body.ties import keep_apart
from lit_distill.models.students.narrowing import factorising
from lit_distill.models.students.starts.factorised_names import HOLDERS, SOURCES

PAIRS = [
    (kind, held) for kind in SOURCES for held in HOLDERS if (kind, held) != ("albert", "electra")
]
POOLED = (Predicted.TEXT_LABELS, Predicted.TEXT_VALUE, Predicted.CHOICES)
HEADS = [
    (row, held)
    for row in ANATOMIES
    for held in HOLDERS
    if (row.model_type, held) in PAIRS
    and (
        row.predicts not in POOLED
        or row.model_type == held
        or "electra" not in (row.model_type, held)
    )
]


@pytest.mark.parametrize(
    ("row", "held"),
    HEADS,
    ids=lambda one: one if isinstance(one, str) else f"{one.architecture}-{one.predicts.name}",
)
def test_at_the_teachers_width_the_student_is_the_teacher(
    row: Any, held: str, make_batch: Callable[..., Batch]
) -> None:
    """Bit for bit: hidden states and what any head says of them; a row of each class."""
    teacher = of_gelu(row)
    student = FactorisedCopyStudent(width_of(teacher), held).build(teacher, 0)
    assert (student.anatomy.model_type, student.anatomy.predicts) == (held, row.predicts)
    assert student.anatomy.has_head == row.has_head
    batch = make_batch(teacher)
    ours, theirs = (model.encode(batch).rows(batch["tokens"]) for model in (student, teacher))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    if row.has_head:
        torch.testing.assert_close(student.logits(ours), teacher.logits(theirs), rtol=0, atol=0)
    assert student.labels == teacher.labels
    narrow = FactorisedCopyStudent(4, held).build(teacher, 0)
    assert width_of(narrow) == narrow.config.embedding_size == 4
    assert narrow.hidden_size == 16


def test_a_table_of_the_heads_own_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the config says tied, as that of a merged adapter does."""
    teacher = of_gelu("bert").double()
    keep_apart(teacher.model, ["cls.predictions.decoder.weight"])
    with torch.no_grad():
        teacher.model.cls.predictions.decoder.weight.add_(1.0).mul_(-0.5)
    student = exactly(FactorisedCopyStudent(6), teacher, monkeypatch)
    named = {n.partition(".")[2]: v for n, v in teacher.model.state_dict().items()}
    map_De = factorising.embedding_directions(named, 6, "sums")
    own = student.anatomy.lm_head(student.model).weight
    assert own is not student.model.get_input_embeddings().weight
    torch.testing.assert_close(own, teacher.model.cls.predictions.decoder.weight @ map_De)


@pytest.mark.parametrize("held", HOLDERS)
def test_layers_are_the_teachers_bit_for_bit(held: str, bert: LanguageModel) -> None:
    bert.config.hidden_act = "gelu"
    picked = [0, 3]
    student = FactorisedCopyStudent(5, held, layers="spread", num_layers=2).build(bert, 0)
    carved = LayerCopyStudent(picked).build(bert, 0)
    assert len(student.layers) == 2
    for ours, theirs in zip(student.layers, carved.layers, strict=True):
        first, second = dict(ours.named_parameters()), dict(theirs.named_parameters())
        assert len(first) == len(second) == 16
        values = sorted(second.values(), key=lambda one: float(one.detach().double().sum()))
        others = sorted(first.values(), key=lambda one: float(one.detach().double().sum()))
        assert all(torch.equal(a, b) for a, b in zip(values, others, strict=True))
    config = student.config
    assert (config.max_position_embeddings, config.num_hidden_layers) == (20, 2)
    if held == "albert":
        assert config.num_hidden_groups == 2


@pytest.mark.parametrize(
    ("held", "loads"), [("electra", True), ("albert", True), ("electra", False)]
)
def test_a_student_is_saved_restored_and_opened_by_plain_classes(
    held: str, loads: bool, tmp_path: Path, make_batch: Callable[..., Batch]
) -> None:
    row = next(one for one in ANATOMIES if one.architecture == "BertModel")
    teacher = of_gelu("bert" if loads else row)
    student = FactorisedCopyStudent(5, held).build(teacher, 0)
    again = student_from_state(json.loads(json.dumps(student_state(student))))
    again.load_state_dict(student.state_dict(), strict=True)
    student.model.save_pretrained(tmp_path)
    auto = AutoModelForMaskedLM if loads else AutoModel
    opened, report = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    batch = make_batch(teacher)
    expected = student.encode(batch).hidden
    assert torch.equal(again.encode(batch).hidden, expected)
    assert torch.equal(LanguageModel(opened).encode(batch).hidden, expected)


def test_a_trimmed_vocabulary_has_factors_of_its_own_rows(tiny_bert: Path, tmp_path: Path) -> None:
    """The teacher's table is cut first, and directions are those of what is left."""
    vocabulary = tmp_path / "vocabulary"
    kept = trimmed_vocabulary(tiny_bert, vocabulary).kept
    spec = TeacherSpec(str(tiny_bert), vocabulary=str(vocabulary))
    start: Student = FactorisedCopyStudent(6, layers=[0, 2], vocabulary=str(vocabulary))
    student = start.build(spec.build(), 0)
    assert student.model.get_input_embeddings().weight.shape == (len(kept), 6)
    whole = TeacherSpec(str(tiny_bert)).build()
    named = {n.partition(".")[2]: v for n, v in whole.model.state_dict().items()}
    words = named["embeddings.word_embeddings.weight"][list(kept)]
    named["embeddings.word_embeddings.weight"] = words
    map_De = factorising.embedding_directions(named, 6, "sums")
    expected = (words.double() @ map_De).float()
    torch.testing.assert_close(student.model.get_input_embeddings().weight.data, expected)
    again = FactorisedCopyStudent(6, vocabulary=str(vocabulary))
    with pytest.raises(UserError, match=r"has .* rows"):
        again.build(TeacherSpec(str(tiny_bert)).build(), 0)


@pytest.mark.parametrize(
    ("teacher", "start", "message"),
    [
        ("bert", {"model_type": "bert"}, r"a bert has one table.*are electra and albert: set"),
        ("gpt2", {"model_type": "gpt2"}, r"a gpt2 has one table.*electra and albert"),
        ("xlm-roberta", {"model_type": "xlm-roberta"}, r"a xlm-roberta has one table"),
        ("gpt2", {}, r"an ELECTRA of a GPT2LMHeadModel.*Teachers are bert, roberta, xlm-roberta"),
        ("distilbert", {}, r"of a DistilBertForMaskedLM: its layers are not the same"),
        ("modernbert", {"model_type": "albert"}, r"an ALBERT of a ModernBertForMaskedLM"),
        ("albert", {}, r"an ELECTRA of a AlbertForMaskedLM.*stay so with model_type=albert"),
        ("bert", {"embedding_size": 17}, r"embedding_size=17, .* 16 wide: choose from 2 to 16"),
        ("electra", {"embedding_size": 9}, r"are 8 wide: choose from 2 to 8"),
        ("bert", {"embedding_size": 1}, r"embedding_size=1,"),
        ("bert", {"num_layers": 2}, r"layers, which is by what rule, is missing"),
        (None, {}, r"none is given.*FreshStudent with model_type=electra"),
    ],
)
def test_what_cannot_be_factorised_says_why(
    teacher: str | None, start: dict[str, Any], message: str
) -> None:
    model = None if teacher is None else LanguageModel(random_model(teacher))
    with pytest.raises(UserError, match=message):
        FactorisedCopyStudent(**{"embedding_size": 4, **start}).build(model, 40)


def test_heads_of_other_activations_are_refused() -> None:
    pooled, electra, bert = (
        LanguageModel(random_model(row))
        for name in (
            "BertForSequenceClassification",
            "ElectraForSequenceClassification",
            "BertForMaskedLM",
        )
        for row in ANATOMIES
        if row.architecture == name and row.predicts != Predicted.TEXT_VALUE
    )
    with pytest.raises(UserError, match=r"an ELECTRA .* labels of texts .*use model_type=albert"):
        FactorisedCopyStudent(4).build(pooled, 0)
    with pytest.raises(UserError, match=r"an ALBERT .*use model_type=electra"):
        FactorisedCopyStudent(4, "albert").build(electra, 0)
    bert.config.hidden_act = "relu"
    with pytest.raises(UserError, match=r"would have gelu where .* has relu: .*=albert"):
        FactorisedCopyStudent(4).build(bert, 0)
    FactorisedCopyStudent(4, "albert").build(bert, 0)
