"""A table as two factors against slow sums: what its directions hold, and what they lose."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from factorised import EXACT, exactly, of_gelu, reads, width_of

from lit_distill.batch import Batch
from lit_distill.models import (
    FactorisedCopyStudent,
    LanguageModel,
)
from lit_distill.models.students.narrowing import factorising
from lit_distill.models.students.narrowing.weights import stream_directions
from lit_distill.models.students.starts.factorised_names import HOLDERS


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
