"""MiniLM against the scalar-loop oracle and Hugging Face's own attention."""

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
from lit_distill.methods import MiniLM
from lit_distill.models import LanguageModel, TeacherSpec

WEIGHTS = {"attention": 0.5, "value": 2.0}
KNOBS = {f"alpha_{name}": weight for name, weight in WEIGHTS.items()}


def built(teacher: LanguageModel, student: LanguageModel, **knobs: Any) -> MiniLM:
    return ready(MiniLM(teacher=TeacherSpec("in memory"), **knobs), teacher, student)


def by_oracle(
    student: dict[str, Any], teacher: dict[str, Tensor], heads: int, batch: Batch, family: str
) -> dict[str, complex]:
    """Every attention head with the key and value head that it shares."""
    shared = heads // 2 if family == "llama" else heads
    fixed = {kind: value.tolist() for kind, value in teacher.items()}
    masks = batch["attention_mask"].tolist(), None
    if "segments" in batch:
        masks = masks[0], batch["segments"].tolist()

    def side(of: dict[str, Any], name: str) -> Side:
        if name == "attention":
            return Side(of["query"], of["key"], heads, shared)
        return Side(of["value"], of["value"], shared, shared)

    causal = family in ("llama", "gpt2")
    return {
        name: relation_kl(side(student, name), side(fixed, name), heads, *masks, causal)
        for name in WEIGHTS
    }


@pytest.mark.parametrize("make_batch", [padded, packed])
@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_equal_the_oracle(
    family: str, make_batch: Callable[[], Batch]
) -> None:
    batch, heads = make_batch(), 4 if family == "llama" else 2
    teacher, student = model(family, 16, 3, heads), model(family, 8, 2, heads, seed=1)
    method = built(teacher, student, **KNOBS)
    terms = terms_of(method, batch)
    loss = loss_of(batch, terms)
    parameters = list(student.parameters())
    ours = torch.autograd.grad(loss, [p for p in parameters if p.requires_grad])

    student.requires_grad_(True)
    found, fixed = read_by_name(student, batch, 1), read_by_name(teacher, batch, 2)
    lists = {kind: value.tolist() for kind, value in found.items()}
    expected = by_oracle(lists, fixed, heads, batch, family)
    for name, term in terms.items():
        assert term.sum.item() == pytest.approx(expected[name].real, rel=1e-12), name
        assert (term.per, term.weight) == ("tokens", WEIGHTS[name])

    shapes = {kind: value.shape for kind, value in found.items()}
    sizes = [shape.numel() for shape in shapes.values()]

    def mean(point: list[Any]) -> complex:
        parts, start = {}, 0
        for (kind, shape), size in zip(shapes.items(), sizes, strict=True):
            parts[kind] = nested(point[start : start + size], shape)
            start += size
        values = by_oracle(parts, fixed, heads, batch, family)
        return sum(WEIGHTS[name] * v for name, v in values.items()) / batch["counts"]["tokens"]

    point = torch.cat([value.detach().flatten() for value in found.values()]).tolist()
    slopes = torch.tensor(gradient(mean, point), dtype=torch.float64).split(sizes)
    theirs = torch.autograd.grad(
        list(found.values()),
        parameters,
        [slope.view(shape) for slope, shape in zip(slopes, shapes.values(), strict=True)],
        allow_unused=True,
    )
    assert distance(list(ours), [g for g in theirs if g is not None]) < 1e-12


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "gpt2"])
def test_attention_is_the_models_own_where_nothing_rotates(family: str) -> None:
    teacher, student, batch = model(family, 16, 3), model(family, 8, 2, seed=1), padded()
    term = terms_of(built(teacher, student), batch)["attention"]
    attentions = []
    for one in (teacher, student):
        one.model.set_attn_implementation("eager")
        output = one.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            output_attentions=True,
        )
        attentions.append(output.attentions[-1])
    p, q = attentions
    kl = torch.where(p > 0, p * (p.clamp(min=1e-300) / q.clamp(min=1e-300)).log(), 0.0)
    rows = kl.sum(-1).mean(1)[batch["attention_mask"].bool()]
    assert term.sum.item() == pytest.approx(rows.sum().item(), rel=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_equal_to_the_teacher_has_nothing_to_learn(family: str) -> None:
    method = built(model(family, 8, 2), model(family, 8, 2))
    terms = terms_of(method, padded())
    assert max(abs(term.sum.item()) for term in terms.values()) < 1e-12
    loss_of(padded(), terms).backward()
    slopes = [p.grad for p in method.student.parameters() if p.grad is not None]
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-12


def test_values_may_be_shared_by_other_numbers_of_heads() -> None:
    """One shared head in the student, two in the teacher: compared as four attention heads do."""
    teacher, student, batch = model("llama", 16, 2, 4), model("llama", 16, 1, 4, seed=1), padded()
    student.model.config.num_key_value_heads = 1
    attention = student.model.model.layers[0].self_attn
    for name in ("k_proj", "v_proj"):
        setattr(attention, name, torch.nn.Linear(16, 4, bias=False).double())
    method = built(teacher, student)
    found = {k: v.tolist() for k, v in method_reads(method, batch).items()}
    fixed = {k: v.tolist() for k, v in read_by_name(teacher, batch, 1).items()}
    mask, segments, causal = batch["attention_mask"].tolist(), None, True
    pairs = {
        "attention": (
            Side(found["query"], found["key"], 4, 1), Side(fixed["query"], fixed["key"], 4, 2),
        ),
        "value": (
            Side(found["value"], found["value"], 1, 1), Side(fixed["value"], fixed["value"], 2, 2),
        ),
    }  # fmt: skip
    for name, term in terms_of(method, batch).items():
        expected = relation_kl(*pairs[name], 4, mask, segments, causal)
        assert term.sum.item() == pytest.approx(expected.real, rel=1e-12)


def method_reads(method: MiniLM, batch: Batch) -> dict[str, Tensor]:
    """The student's projections where its own forward cannot run (its heads were swapped)."""
    hidden = method.student.model.model.embed_tokens(batch["input_ids"])
    layer = method.student.model.model.layers[0]
    read = layer.input_layernorm(hidden)
    return {k: getattr(layer.self_attn, f"{k[0]}_proj")(read) for k in ("query", "key", "value")}


def test_a_term_without_weight_is_left_out() -> None:
    method = built(model("bert", 8, 2), model("bert", 8, 2), alpha_attention=0.0)
    assert list(terms_of(method, padded())) == ["value"]
    own = method.student.model.bert.encoder.layer[1].attention.self
    assert not own.query.weight.requires_grad
    with pytest.raises(UserError, match="all 0, so nothing is learnt"):
        MiniLM(alpha_attention=0, alpha_value=0, teacher=TeacherSpec("x"))


def test_unequal_heads_are_refused_with_a_way_out() -> None:
    with pytest.raises(UserError, match=r"has 2 attention heads and the teacher 4.*MiniLMv2"):
        built(model("bert", 16, 2, heads=4), model("bert", 8, 2))


def test_a_decoder_and_an_encoder_are_not_compared() -> None:
    with pytest.raises(UserError, match=r"BertForMaskedLM.*GPT2LMHeadModel.*later positions"):
        built(model("gpt2", 8, 2), model("bert", 8, 2))
