"""Attention terms against Transformers' own probabilities; masks, kernels, memory, freezing."""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from batches import collate
from oracles.relations import Side, relation_kl, relation_mse
from relation_models import (
    FAMILIES,
    TEXTS,
    distance,
    loss_of,
    model,
    packed,
    padded,
    read_by_name,
    ready,
    terms_of,
)
from torch import Tensor
from torch.nn import functional

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import StateCosine, StateLoss, StateMSE, StateNormalisedMSE
from lit_distill.methods import (
    AttentionTerms,
    ExplicitPairs,
    HiddenStates,
    LastState,
    LinearProjection,
    OneToMany,
    TopAligned,
)
from lit_distill.models import LanguageModel, LiveOutputs, TeacherSpec
from lit_distill.models.students.freezing import freeze_named
from lit_distill.training.states import state_terms

KINDS = {
    "probabilities": AttentionTerms(),
    "scores": AttentionTerms(compare="scores"),
    "kl": AttentionTerms(loss="kl"),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def built(teacher: LanguageModel, student: LanguageModel, **knobs: Any) -> HiddenStates:
    if teacher.hidden_size != student.hidden_size:
        knobs["projection"] = LinearProjection()
    method = ready(HiddenStates(teacher=TeacherSpec("in memory"), **knobs), teacher, student)
    method.auxiliary.double()
    return method


def own_probabilities(language_model: LanguageModel, batch: Batch) -> list[Tensor]:
    """(B, A, T, T) of every layer, as Transformers gives them from its eager kernel."""
    language_model.model.set_attn_implementation("eager")
    read = {name: batch[name] for name in ("input_ids", "attention_mask")}
    attentions = language_model.model(**read, output_attentions=True).attentions
    language_model.model.set_attn_implementation("sdpa")
    return list(attentions)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "gpt2"])
@pytest.mark.parametrize("kind", ["probabilities", "kl"])
def test_probabilities_are_transformers_own_where_nothing_rotates(family: str, kind: str) -> None:
    """Rows and columns of single numbers, over real queries and the keys that each may see."""
    batch, teacher, student = padded(), model(family, 16, 4), model(family, 8, 2, seed=1)
    terms = terms_of(built(teacher, student, attention=KINDS[kind]), batch)
    theirs, ours = (own_probabilities(one, batch) for one in (teacher, student))
    mask = batch["attention_mask"].tolist()
    for own, other in ((1, 2), (2, 4)):
        p, q = theirs[other - 1].tolist(), ours[own - 1].tolist()
        total = 0.0
        for b, a, t in itertools.product(range(2), range(2), range(len(mask[0]))):
            late = t + 1 if family == "gpt2" else len(mask[b])
            seen = [u for u in range(late) if mask[b][u] and mask[b][t]]
            for u in seen:
                x, y = p[b][a][t][u], q[b][a][t][u]
                gap = x * math.log(x / y) if kind == "kl" else (x - y) ** 2 / len(seen)
                total += gap / 2
        term = terms[f"attention_{own}_{other}"]
        assert term.sum.item() == pytest.approx(total, rel=1e-12)
        assert (term.per, term.weight) == ("tokens", 1.0)
    assert list(terms) == ["state_1_2", "state_2_4", "attention_1_2", "attention_2_4"]


@EVERY_KIND
@pytest.mark.parametrize("family", FAMILIES)
def test_terms_are_of_the_projections_with_shared_keys_and_packed_texts(
    family: str, kind: str
) -> None:
    heads = 4 if family == "llama" else 2
    teacher, student = model(family, 16, 3, heads), model(family, 8, 2, heads, seed=1)
    pairs = {"layer_map": ExplicitPairs([1, 2], [2, 2])}
    terms = AttentionTerms(**{**vars(KINDS[kind]), **pairs})
    method = built(teacher, student, attention=terms)
    batch, causal = padded(), family in ("llama", "gpt2")
    found, apart = terms_of(method, batch), terms_of(method, packed())
    for own, other in ((1, 2), (2, 2)):
        sides = []
        for one, layer in ((student, own), (teacher, other)):
            read = {k: v.tolist() for k, v in read_by_name(one, batch, layer - 1).items()}
            shared = heads // 2 if family == "llama" else heads
            sides.append(Side(read["query"], read["key"], heads, shared))
        mask = batch["attention_mask"].tolist(), None, causal
        if kind == "kl":
            wanted = relation_kl(*sides, heads, *mask)
        else:
            wanted = relation_mse(*sides, heads, kind, *mask)
        name = f"attention_{own}_{other}"
        assert found[name].sum.item() == pytest.approx(wanted.real, rel=1e-12)
        assert apart[name].sum.item() == pytest.approx(wanted.real, rel=1e-9)


@EVERY_KIND
@pytest.mark.parametrize("family", FAMILIES)
def test_a_copy_of_the_teacher_has_nothing_to_learn(family: str, kind: str) -> None:
    method = built(model(family, 8, 2), model(family, 8, 2), attention=KINDS[kind])
    terms = terms_of(method, padded())
    assert len(terms) == 4
    assert max(abs(term.sum.item()) for term in terms.values()) < 1e-12


@EVERY_KIND
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_padding_changes_no_loss_and_no_gradient(family: str, kind: str) -> None:
    """Nor does a sequence of nothing but padding, whose keys are all hidden."""
    teacher, student = model(family, 16, 4), model(family, 8, 2, seed=1)
    method = built(teacher, student, attention=KINDS[kind])

    def run(batch: Batch) -> tuple[float, list[Tensor]]:
        terms = {k: t for k, t in terms_of(method, batch).items() if "attention" in k}
        loss = loss_of(batch, terms)
        wanted = [p for p in student.parameters() if p.requires_grad]
        slopes = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
        return loss.item(), list(slopes)

    value, slopes = run(collate(TEXTS))
    empty = collate(TEXTS, extra=3)
    for key in ("input_ids", "attention_mask"):
        empty[key] = torch.cat([empty[key], torch.zeros_like(empty[key][:1])])
    for batch in (collate(TEXTS, extra=5), empty):
        other, found = run(batch)
        assert other == pytest.approx(value, rel=1e-12)
        assert distance(found, slopes) < 1e-12


def test_attention_kernels_stay_on(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, student = model("bert", 8, 4), model("bert", 8, 2, seed=1)
    calls, own = list[bool](), functional.scaled_dot_product_attention

    def counted(*args: Any, **kwargs: Any) -> Tensor:
        calls.append(torch.is_grad_enabled())
        return own(*args, **kwargs)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", counted)
    method = built(teacher, student, attention=AttentionTerms())
    calls.clear()
    terms_of(method, padded())
    assert calls == [False] * 4 + [True] * 2
    for one in (teacher, student):
        assert one.config._attn_implementation == "sdpa"


def test_maps_pair_layers_and_not_embeddings() -> None:
    teacher, student = model("bert", 8, 4), model("bert", 8, 2, seed=1)
    below = built(teacher, student, layer_map=TopAligned(below=True), attention=AttentionTerms())
    assert below.attention is not None
    assert list(below.attention.pairs) == [(1, 3), (2, 4)]
    own = AttentionTerms(layer_map=OneToMany())
    several = built(teacher, model("bert", 8, 2, seed=1), layer_map=LastState(), attention=own)
    named = ["state_2_4", *(f"attention_{i}_{j}" for i, j in ((1, 1), (1, 2), (2, 3), (2, 4)))]
    assert list(terms_of(several, padded())) == named
    off = built(teacher, model("bert", 8, 2, seed=1), attention=AttentionTerms(weight=0))
    assert list(terms_of(off, padded())) == ["state_1_2", "state_2_4"]


def test_projections_above_the_highest_state_are_trained() -> None:
    teacher, student = model("bert", 8, 4), model("bert", 8, 3, seed=1)
    own = AttentionTerms(layer_map=ExplicitPairs([3], [4]))
    method = built(teacher, student, layer_map=ExplicitPairs([1], [2]), attention=own)
    loss_of(padded(), terms_of(method, padded())).backward()
    for name, parameter in student.model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    top = {n for n, p in student.model.named_parameters() if p.requires_grad and "layer.2." in n}
    assert {name.split(".")[-2] for name in top} == {"query", "key"}
    assert method.counterparts() == {0: 1, 2: 3}


@pytest.mark.parametrize(
    ("heads", "attention", "message"),
    [
        (4, AttentionTerms(), r"student has 4 heads in a layer and the teacher 2\. .*MiniLMv2"),
        (2, AttentionTerms(layer_map=ExplicitPairs([0], [1])), r"a layer 0: .*from 1"),
        (2, AttentionTerms(layer_map=ExplicitPairs([3], [1])), r"pairs state 3 of the student"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_way_out(
    heads: int, attention: AttentionTerms, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        built(model("bert", 8, 4), model("bert", 8, 2, heads, seed=1), attention=attention)


def test_divergences_of_scores_are_refused() -> None:
    with pytest.raises(UserError, match=r"no distributions: compare probabilities, or take mse"):
        AttentionTerms(compare="scores", loss="kl")
    only_embeddings = ExplicitPairs([0], [0])
    with pytest.raises(UserError, match="pairs no layers"):
        built(
            model("bert", 8, 2),
            model("bert", 8, 2),
            layer_map=only_embeddings,
            attention=AttentionTerms(),
        )


def test_frozen_embeddings_do_not_move_by_a_bit() -> None:
    teacher, student = model("bert", 8, 4), model("bert", 8, 2, seed=1)
    freeze_named(student, ["embeddings"])
    method = built(teacher, student, embeddings=True, attention=AttentionTerms())
    before = {name: value.clone() for name, value in student.model.state_dict().items()}
    trained = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1, weight_decay=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        loss_of(padded(), terms_of(method, padded())).backward()
        optimizer.step()
    for name, value in student.model.state_dict().items():
        own = ".layer." in name
        assert torch.equal(value, before[name]) != own, name


class Saved:
    """Bytes that the graph of what is computed inside keeps, each storage once."""

    def __init__(self) -> None:
        self._kept: dict[int, Tensor] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda kept: kept)

    def _pack(self, tensor: Tensor) -> Tensor:
        self._kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    def __enter__(self) -> Saved:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)

    def beyond(self, captured: Iterable[Tensor]) -> int:
        """Without what was captured."""
        known = {tensor.untyped_storage().data_ptr() for tensor in captured}
        return sum(one.nbytes for place, one in self._kept.items() if place not in known)


def kept(method: HiddenStates, batch: Batch) -> dict[str, int]:
    """Bytes that the terms on states, and on attention, keep beyond what was captured."""
    assert method.attention is not None
    sites = [*method.states.teacher_sites, *method.attention.teacher_sites]
    teacher = method.teach(batch, sites)
    assert isinstance(teacher, LiveOutputs)
    heard = [weakref.ref(teacher.encoded[0].captured[s]) for s in method.attention.teacher_sites]
    student = method.student.encode(batch, capture=method.student_sites)
    known = [*student.captured.values(), student.hidden, *method.parameters()]
    with Saved() as states:
        terms = method.states.of(batch, student, teacher)
    found = {"states": states.beyond([*known, *teacher.encoded[0].captured.values()])}
    with Saved() as attention:
        terms |= method.attention.of(batch, student, teacher)
    found["attention"] = attention.beyond(known)
    assert not any(tensor() is not None for tensor in heard)  # which was there before
    loss_of(batch, terms).backward()
    return found


@pytest.mark.parametrize("loss", [StateMSE(), StateCosine()], ids=["mse", "cosine"])
def test_what_terms_keep_does_not_grow_with_the_number_of_layers(loss: StateLoss) -> None:
    """Of states nothing; of attention gradients, where the teacher's queries and keys were."""
    batch = collate(TEXTS * 4, extra=1)
    state = batch["input_ids"].numel() * 16 * 8
    for layers in (2, 12):
        pairs = ExplicitPairs(list(range(1, layers + 1)), list(range(1, layers + 1)))
        knobs = {"layer_map": pairs, "projection": LinearProjection(), "loss": loss}
        models = model("bert", 16, 12), model("bert", 16, 12, seed=1)
        found = kept(built(*models, attention=AttentionTerms(), **knobs), batch)
        assert found == {"states": 0, "attention": 2 * layers * state}


def test_pairs_are_computed_again_to_the_same_gradient() -> None:
    """Bit for bit what plain autograd gives of them."""
    knobs = {"loss": StateNormalisedMSE(), "layer_map": OneToMany(), "embeddings": True}
    method = built(model("bert", 16, 4), model("bert", 8, 2, seed=1), **knobs)
    trained = [p for p in method.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss_of(padded(), terms_of(method, padded())), trained)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_terms, "checkpoint", lambda pair, **_: pair())
        plain = torch.autograd.grad(loss_of(padded(), terms_of(method, padded())), trained)
    assert all(torch.equal(one, other) for one, other in zip(found, plain, strict=True))
