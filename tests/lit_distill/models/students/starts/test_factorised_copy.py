"""A teacher's layers below embeddings of two factors: what is kept, lost and refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import random_model
from torch import Tensor
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
    Site,
    Student,
    TeacherSpec,
    student_from_state,
    student_state,
)
from lit_distill.models.body.ties import keep_apart
from lit_distill.models.students.narrowing import factorising
from lit_distill.models.students.narrowing.weights import stream_directions
from lit_distill.models.students.starts.factorised_names import HOLDERS, SOURCES, own_names

READ = Site("embeddings")
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
EXACT = {"layer_norm_eps": 1e-14}  # the only other difference of norms over other numbers


def of_gelu(kind: Any, **changes: Any) -> LanguageModel:
    """A tiny teacher; ALBERT's own activation is another one than ELECTRA's."""
    return LanguageModel(random_model(kind, hidden_act="gelu", **changes))


def exactly(
    start: FactorisedCopyStudent, teacher: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> LanguageModel:
    """The student in float64, of a teacher in float64: starts narrow to float32."""
    kept: dict[str, Tensor] = {}
    own = FactorisedCopyStudent._weights

    def keep(self: Any, *given: Any) -> Any:
        result = own(self, *given)
        kept.update(result)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(FactorisedCopyStudent, "_weights", keep)
        student = start.build(teacher, 0)
    student.double()
    student.model.load_state_dict(own_names(kept, student.anatomy, student.model.state_dict()))
    return student


def reads(model: LanguageModel, batch: Batch) -> Tensor:
    """What the first layer reads (B, T, H)."""
    return model.capture(batch, [READ])[READ].detach()


def width_of(model: LanguageModel) -> int:
    return model.model.get_input_embeddings().weight.shape[1]


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


def oracle(teacher: LanguageModel, ids: list[int], map_De: list[list[float]]) -> list[list[float]]:
    """What the student's first layer reads of one text, number by number, from the teacher's."""
    plain = {
        name.partition(".")[2]: value.double().tolist()
        for name, value in teacher.model.state_dict().items()
        if "embeddings" in name
    }
    offset = teacher.anatomy.position_offset(teacher.config)
    gains, shifts = plain["embeddings.LayerNorm.weight"], plain["embeddings.LayerNorm.bias"]
    wide, narrow = len(gains), len(map_De[0])
    result = []
    for place, token in enumerate(ids):
        rows = [
            plain["embeddings.word_embeddings.weight"][token],
            plain["embeddings.position_embeddings.weight"][place + offset],
            plain["embeddings.token_type_embeddings.weight"][0],
        ]
        cut = [
            sum(rows[kind][d] * map_De[d][e] for kind in range(3) for d in range(wide))
            for e in range(narrow)
        ]
        mean = sum(cut) / narrow
        variance = sum((one - mean) ** 2 for one in cut) / narrow + teacher.config.layer_norm_eps
        normed = [(one - mean) / math.sqrt(variance) for one in cut]
        back = [
            sum(map_De[d][e] * normed[e] for e in range(narrow)) * math.sqrt(wide / narrow)
            for d in range(wide)
        ]
        read = [gains[d] * back[d] + shifts[d] for d in range(wide)]
        if "embeddings_project.weight" in plain:
            matrix, bias = plain["embeddings_project.weight"], plain["embeddings_project.bias"]
            read = [
                sum(matrix[h][d] * read[d] for d in range(wide)) + bias[h] for h in range(len(bias))
            ]
        result.append(read)
    return result


@pytest.mark.parametrize("directions", ["sums", "words"])
@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "electra"])
def test_the_first_layer_reads_what_slow_sums_say(
    family: str, directions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = of_gelu(family).double()
    start = FactorisedCopyStudent(5, directions=directions)
    student = exactly(start, teacher, monkeypatch)
    named = {n.partition(".")[2]: v for n, v in teacher.model.state_dict().items()}
    rows = named["embeddings.word_embeddings.weight"]
    if directions == "sums":  # all of them, one by one
        offset = teacher.anatomy.position_offset(teacher.config)
        places = named["embeddings.position_embeddings.weight"][offset:]
        kind = named["embeddings.token_type_embeddings.weight"][0]
        rows = torch.stack([word + place + kind for word in rows for place in places])
    map_De = stream_directions(rows, 5, centred=True)
    torch.testing.assert_close(map_De.sum(0), torch.zeros(5, dtype=torch.float64))
    ids = [7, 30, 9, 9, 22]
    batch: Batch = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, 5).long()}
    expected = torch.tensor([oracle(teacher, ids, map_De.tolist())], dtype=torch.float64)
    torch.testing.assert_close(reads(student, batch), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("directions", ["sums", "words"])
def test_what_the_word_table_loses_is_the_tail_of_its_singular_values(
    directions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less row means, which the norm takes off: of the table alone nothing loses less."""
    teacher = of_gelu("bert").double()
    table = teacher.model.get_input_embeddings().weight.detach()
    centred = table - table.mean(1, keepdim=True)
    gains = teacher.model.bert.embeddings.LayerNorm.weight.detach()
    values = torch.linalg.svdvals(centred)
    for width in (3, 8, 15):
        start = FactorisedCopyStudent(width, directions=directions)
        electra = exactly(start, teacher, monkeypatch).model.electra
        project = electra.embeddings_project.weight / gains[:, None] / (16 / width) ** 0.5
        product = electra.embeddings.word_embeddings.weight @ project.T
        lost = (centred - product).norm()
        tail = values[width - 1 :].norm()
        if directions == "words":
            torch.testing.assert_close(lost, tail, rtol=1e-12, atol=1e-12)
            assert torch.linalg.matrix_rank(product) == width - 1
        else:
            assert lost > tail
        shift = electra.embeddings_project.bias
        assert torch.equal(shift, teacher.model.bert.embeddings.LayerNorm.bias)


def test_sums_are_nearer_than_words_alone_to_what_the_norm_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Off all sums, by the length of what is cut."""
    teacher = of_gelu("bert").double()
    named = {n.partition(".")[2]: v for n, v in teacher.model.state_dict().items()}
    parts = [named[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position")]
    sums = parts[0][:, None] + parts[1] + named["embeddings.token_type_embeddings.weight"][0]
    sums = (sums - sums.mean(-1, keepdim=True)).flatten(0, 1)
    for width in (3, 8, 12):
        lost = {}
        for of in ("sums", "words"):
            map_De = factorising.embedding_directions(named, width, of)  # type: ignore[arg-type]
            lost[of] = (sums - sums @ map_De @ map_De.T).norm()
        tail = torch.linalg.svdvals(sums)[width - 1 :].norm()
        torch.testing.assert_close(lost["sums"], tail, rtol=1e-10, atol=1e-10)
        assert lost["sums"] < lost["words"]


@pytest.mark.parametrize("held", HOLDERS)
@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_sums_in_few_directions_are_read_as_the_teacher_reads_them(
    family: str, held: str, make_batch: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also all that comes above, whatever the norm's gains: only its eps is of another width."""
    teacher = of_gelu(family, **EXACT).double()
    wide = width_of(teacher)
    used = 3
    onto = torch.linalg.qr(torch.randn(wide, used, dtype=torch.float64)).Q
    with torch.no_grad():
        for name, value in teacher.model.named_parameters():
            if "_embeddings.weight" in name:
                value.copy_(value @ onto @ onto.T + 3.0)  # a mean is taken off
    student = exactly(FactorisedCopyStudent(used + 1, held), teacher, monkeypatch)
    batch = make_batch(teacher)
    real = batch["attention_mask"].bool()
    ours, theirs = (reads(model, batch)[real] for model in (student, teacher))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    states = [model.encode(batch).rows(batch["tokens"]) for model in (student, teacher)]
    torch.testing.assert_close(*states, rtol=0, atol=1e-9)
    lossy = exactly(FactorisedCopyStudent(used, held), teacher, monkeypatch)
    assert float((reads(lossy, batch)[real] - theirs).abs().max()) > 1e-3


def test_the_head_is_what_slow_sums_say(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = of_gelu("bert").double()
    student = exactly(FactorisedCopyStudent(6), teacher, monkeypatch)
    named = {n.partition(".")[2]: v for n, v in teacher.model.state_dict().items()}
    map_De = factorising.embedding_directions(named, 6, "sums").tolist()
    old = teacher.model.cls.predictions.transform
    gains, shifts = old.LayerNorm.weight.tolist(), old.LayerNorm.bias.tolist()
    matrix, bias = old.dense.weight.tolist(), old.dense.bias.tolist()
    head = student.model.generator_predictions
    for e in range(6):
        row = [gains[d] * map_De[d][e] for d in range(16)]
        length = math.sqrt(sum(one * one for one in row))
        dense = [sum(row[d] * matrix[d][h] for d in range(16)) / length for h in range(16)]
        given = (
            (head.dense.weight[e], dense),
            (head.dense.bias[e], sum(row[d] * bias[d] for d in range(16)) / length),
            (head.LayerNorm.weight[e], length),
            (head.LayerNorm.bias[e], sum(shifts[d] * map_De[d][e] for d in range(16))),
        )
        for found, expected in given:
            wanted = torch.tensor(expected, dtype=torch.float64)
            torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    decoder = student.anatomy.lm_head(student.model)
    assert torch.equal(decoder.bias, teacher.model.cls.predictions.decoder.bias)
    assert decoder.weight is student.model.get_input_embeddings().weight


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


def test_the_table_is_cut_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    table, map_De = torch.randn(40, 16), torch.randn(16, 5, dtype=torch.float64)
    whole = factorising.narrowed(table, map_De)
    monkeypatch.setattr(factorising, "_ROWS", 7)
    assert torch.equal(factorising.narrowed(table, map_De), whole)
    torch.testing.assert_close(whole, (table.double() @ map_De).float())


def test_rows_of_no_token_have_no_say_in_the_directions(bert: LanguageModel) -> None:
    """A table that was padded: its own rows are cut to the directions of the others."""
    bert.config.hidden_act = "gelu"
    table = bert.model.get_input_embeddings().weight
    start = FactorisedCopyStudent(5)
    before = start.build(bert, 30).model.get_input_embeddings().weight[:30].clone()
    with torch.no_grad():
        table[30:] = 100 * torch.randn(10, 16)
    after = start.build(bert, 30).model.get_input_embeddings().weight
    assert after.shape == (40, 5)
    assert torch.equal(after[:30], before)
    assert not torch.allclose(start.build(bert, 0).model.get_input_embeddings().weight[:30], before)
