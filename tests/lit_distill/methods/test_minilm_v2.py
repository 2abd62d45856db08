"""MiniLMv2 against the scalar-loop oracle, and the properties of its paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles.relations import Side, relation_kl
from oracles.triple_loss import gradient
from relation_models import (
    FAMILIES,
    distance,
    loss_of,
    model,
    nested,
    packed,
    padded,
    read_by_name,
    ready,
    terms_of,
)
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.methods import MiniLMv2
from lit_distill.models import FreshStudent, LanguageModel, TeacherSpec
from lit_distill.schedules import Ramp

WEIGHTS = {"query": 0.5, "key": 2.0, "value": 1.5}
KNOBS = {f"alpha_{kind}": weight for kind, weight in WEIGHTS.items()}
BATCHES = pytest.mark.parametrize("make_batch", [padded, packed])


def built(teacher: LanguageModel, student: LanguageModel, **knobs: Any) -> MiniLMv2:
    return ready(MiniLMv2(teacher=TeacherSpec("in memory"), **knobs), teacher, student)


def by_oracle(
    student: dict[str, Any], teacher: dict[str, Tensor], heads: int, batch: Batch, causal: bool
) -> dict[str, complex]:
    segments = batch["segments"].tolist() if "segments" in batch else None
    return {
        kind: relation_kl(
            Side(student[kind], student[kind], heads, heads),
            Side(teacher[kind].tolist(), teacher[kind].tolist(), heads, heads),
            heads,
            batch["attention_mask"].tolist(),
            segments,
            causal,
        )
        for kind in WEIGHTS
    }


@BATCHES
@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_equal_the_oracle(
    family: str, make_batch: Callable[[], Batch]
) -> None:
    """The teacher is wider, deeper and read below its top; heads are cut."""
    batch, heads = make_batch(), 4 if family != "llama" else 2  # a Llama's keys are narrower
    teacher, student = model(family, 16, 3), model(family, 8, 2, seed=1)
    method = built(teacher, student, relation_heads=heads, teacher_layer=2, **KNOBS)
    terms = terms_of(method, batch)
    parameters = list(student.parameters())
    loss = loss_of(batch, terms)
    ours = torch.autograd.grad(loss, [p for p in parameters if p.requires_grad])

    student.requires_grad_(True)
    found, fixed = read_by_name(student, batch, 1), read_by_name(teacher, batch, 1)
    causal = student.anatomy.causal
    lists = {kind: value.tolist() for kind, value in found.items()}
    expected = by_oracle(lists, fixed, heads, batch, causal)
    for kind, term in terms.items():
        assert term.sum.item() == pytest.approx(expected[kind].real, rel=1e-12), kind
        assert (term.per, term.weight) == ("tokens", WEIGHTS[kind])
    total = sum(WEIGHTS[kind] * value.real for kind, value in expected.items())
    assert loss.item() == pytest.approx(total / batch["counts"]["tokens"], rel=1e-12)

    shapes = {kind: value.shape for kind, value in found.items()}
    sizes = [shape.numel() for shape in shapes.values()]

    def mean(point: list[Any]) -> complex:
        parts, start = {}, 0
        for (kind, shape), size in zip(shapes.items(), sizes, strict=True):
            parts[kind] = nested(point[start : start + size], shape)
            start += size
        values = by_oracle(parts, fixed, heads, batch, causal)
        return sum(WEIGHTS[kind] * v for kind, v in values.items()) / batch["counts"]["tokens"]

    point = torch.cat([value.detach().flatten() for value in found.values()]).tolist()
    slopes = torch.tensor(gradient(mean, point), dtype=torch.float64).split(sizes)
    theirs = torch.autograd.grad(
        list(found.values()),
        parameters,
        [slope.view(shape) for slope, shape in zip(slopes, shapes.values(), strict=True)],
        allow_unused=True,
    )
    assert distance(list(ours), [g for g in theirs if g is not None]) < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_texts_weigh_what_padded_ones_do(family: str) -> None:
    method = built(model(family, 16, 3), model(family, 8, 2, seed=1), relation_heads=2)
    one, other = (terms_of(method, batch) for batch in (padded(), packed()))
    for kind, term in one.items():
        assert other[kind].sum.item() == pytest.approx(term.sum.item(), rel=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_equal_to_the_teachers_layers_has_nothing_to_learn(family: str) -> None:
    teacher, student = model(family, 8, 2), model(family, 8, 2)
    method = built(teacher, student, relation_heads=4 if family != "llama" else 2)
    terms = terms_of(method, padded())
    assert max(abs(term.sum.item()) for term in terms.values()) < 1e-12
    loss_of(padded(), terms).backward()
    slopes = [p.grad for p in student.parameters() if p.grad is not None]
    assert slopes
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-12


def test_as_many_relation_heads_as_attention_heads_compare_head_by_head() -> None:
    teacher, student, batch = model("bert", 16, 2), model("bert", 8, 1, seed=1), padded()
    terms = terms_of(built(teacher, student, relation_heads=2), batch)
    found, fixed = read_by_name(student, batch, 0), read_by_name(teacher, batch, 1)
    real = batch["attention_mask"].bool()
    for kind in WEIGHTS:
        total = 0.0
        for head in range(2):
            logs = []
            for x in (fixed[kind], found[kind]):
                own = x.chunk(2, -1)[head]
                scores = own @ own.mT / own.shape[-1] ** 0.5
                logs.append(scores.masked_fill(~real[:, None], -1e30).log_softmax(-1))
            kl = (logs[0].exp() * (logs[0] - logs[1])).sum(-1)[real].sum()
            total += kl.item() / 2
        assert terms[kind].sum.item() == pytest.approx(total, rel=1e-12)


def test_gradients_exist_exactly_on_embeddings_lower_layers_and_the_last_projections() -> None:
    teacher, student = model("bert", 16, 2), model("bert", 8, 2, seed=1)
    method = built(teacher, student, relation_heads=4)
    loss_of(padded(), terms_of(method, padded())).backward()
    for name, parameter in student.model.named_parameters():
        reached = name.startswith(
            ("bert.embeddings.", "bert.encoder.layer.0.", "bert.encoder.layer.1.attention.self.")
        )
        assert (parameter.grad is not None) == reached == parameter.requires_grad, name
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_relation_without_weight_is_not_computed_and_its_projection_not_trained() -> None:
    teacher, student = model("bert", 16, 2), model("bert", 8, 2, seed=1)
    method = built(teacher, student, relation_heads=4, alpha_query=0.0, alpha_key=Ramp(0.0, 1.0))
    assert list(terms_of(method, padded())) == ["key", "value"]
    own = student.model.bert.encoder.layer[1].attention.self
    assert not own.query.weight.requires_grad
    assert own.key.weight.requires_grad


def test_what_a_fresh_student_never_trains_starts_as_the_teachers() -> None:
    teacher, spec = model("bert", 8, 3), FreshStudent(config={"num_hidden_layers": 2})
    student = spec.build(teacher, 0).double()
    own = student.model.bert.encoder.layer[1].attention.self.value.weight.clone()
    method = MiniLMv2(relation_heads=4, student=spec, teacher=TeacherSpec("x"))
    ready(method, teacher, student)
    ours, theirs = student.model.state_dict(), teacher.model.state_dict()
    for rest in ("attention.output.dense.weight", "output.LayerNorm.bias"):
        one, other = (f"bert.encoder.layer.{number}.{rest}" for number in (1, 2))
        assert torch.equal(ours[one], theirs[other])  # of the teacher's layer that it learns from
    head = "cls.predictions.transform.dense.weight"
    assert torch.equal(ours[head], theirs[head])
    assert torch.equal(student.model.bert.encoder.layer[1].attention.self.value.weight, own)
    (note,) = [note for note in method.notes if "the teacher's values" in note]
    assert note.endswith("bert.encoder.layer.1.output, cls")


def test_what_of_another_shape_is_said_to_be_random() -> None:
    teacher, spec = model("bert", 8, 3), FreshStudent(config={"hidden_size": 4})
    method = MiniLMv2(relation_heads=4, student=spec, teacher=TeacherSpec("x"))
    ready(method, teacher, spec.build(teacher, 0).double())
    (note,) = [note for note in method.notes if "random values" in note]
    assert note.endswith("bert.encoder.layer.2.output, cls.predictions.transform")


def test_heads_that_do_not_divide_are_refused_with_one_that_does() -> None:
    teacher, student = model("bert", 16, 2), model("bert", 12, 2, seed=1)
    with pytest.raises(UserError, match=r"relation_heads=3 .*query.*12 \(student\) and 16.*: 2 wo"):
        built(teacher, student, relation_heads=3)
    with pytest.raises(UserError, match=r"relation_heads=48 .*: 4 would"):
        built(teacher, student)
    with pytest.raises(UserError, match=r"relation_heads is 0: "):
        built(teacher, student, relation_heads=0)
    grouped = model("llama", 16, 2, heads=4), model("llama", 16, 2, heads=4)
    with pytest.raises(UserError, match=r"relation_heads=16 .*key projections, 8 .* and 8 .*: 8 w"):
        built(*grouped, relation_heads=16)


def test_layers_that_do_not_exist_are_refused_with_those_that_do() -> None:
    with pytest.raises(UserError, match=r"teacher_layer=19 .*has 2 layers, numbered 1 to 2"):
        built(model("bert", 8, 2), model("bert", 8, 2), relation_heads=4, teacher_layer=19)
    with pytest.raises(UserError, match="are all 0, so nothing is learnt"):
        MiniLMv2(alpha_query=0, alpha_key=0, alpha_value=0, teacher=TeacherSpec("x"))


def test_a_decoder_and_an_encoder_are_not_compared() -> None:
    with pytest.raises(UserError, match=r"BertForMaskedLM.*GPT2LMHeadModel.*later positions"):
        built(model("gpt2", 8, 2), model("bert", 8, 2), relation_heads=4)
