"""HiddenStates against Transformers' own hidden states, and the tables of its layer maps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracles.triple_loss import squared_distance
from relation_models import FAMILIES, loss_of, model, packed, padded, ready, terms_of

from lit_distill.errors import UserError
from lit_distill.losses import StateCosine, StateNormalisedMSE
from lit_distill.methods import (
    AllOnLast,
    EveryKth,
    ExplicitPairs,
    HiddenStates,
    LastOfGroup,
    LastState,
    LayerMap,
    LinearProjection,
    OneToMany,
    TopAligned,
    Uniform,
    UniformPlusLast,
)
from lit_distill.models import FreshStudent, LanguageModel, TeacherSpec

TABLES: dict[str, tuple[LayerMap, dict[tuple[int, int], list[int] | list[list[int]]]]] = {
    "last": (LastState(), {(6, 12): [0, 0, 0, 0, 0, 12], (3, 12): [0, 0, 12]}),
    "uniform": (
        Uniform(),
        {
            (6, 12): [2, 4, 6, 8, 10, 12],
            (6, 24): [4, 8, 12, 16, 20, 24],
            (4, 12): [3, 6, 9, 12],
            (3, 12): [4, 8, 12],
            (5, 12): [2, 4, 7, 9, 12],
        },
    ),
    "every_kth": (EveryKth(3), {(4, 12): [3, 6, 9, 12], (3, 12): [3, 6, 9], (3, 24): [3, 6, 9]}),
    "last_of_group": (
        LastOfGroup(),
        {
            (6, 12): [2, 4, 6, 8, 10, 12],
            (6, 24): [4, 8, 12, 16, 20, 24],
            (4, 12): [3, 6, 9, 12],
            (3, 12): [4, 8, 12],
            (5, 12): [3, 6, 8, 10, 12],
        },
    ),
    "one_to_many": (
        OneToMany(),
        {
            (4, 12): [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]],
            (3, 12): [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]],
            (5, 12): [[1, 2, 3], [4, 5, 6], [7, 8], [9, 10], [11, 12]],
        },
    ),
    "top_aligned": (
        TopAligned(),
        {
            (6, 12): [7, 8, 9, 10, 11, 12],
            (6, 24): [19, 20, 21, 22, 23, 24],
            (4, 12): [9, 10, 11, 12],
            (3, 12): [10, 11, 12],
        },
    ),
    "uniform_plus_last, final": (
        UniformPlusLast("final"),
        {
            (6, 12): [[2, 12], [4, 12], [6, 12], [8, 12], [10, 12], [12]],
            (3, 12): [[4, 12], [8, 12], [12]],
        },
    ),
    "uniform_plus_last, shifted": (
        UniformPlusLast("shifted"),
        {
            (6, 12): [[1, 7], [3, 8], [5, 9], [7, 10], [9, 11], [11, 12]],
            (3, 12): [[1, 10], [5, 11], [9, 12]],
        },
    ),
    "all_on_last": (AllOnLast(), {(2, 12): [0, [4, 8, 12]], (3, 24): [0, 0, [8, 16, 24]]}),
    "all_on_last, named": (AllOnLast([4, 12]), {(2, 12): [0, [4, 12]]}),
}
"""By student's layer from 1 what it learns from; 0 stands for nothing."""


@pytest.mark.parametrize(("layer_map", "tables"), TABLES.values(), ids=TABLES.keys())
def test_maps_are_the_published_ones(layer_map: LayerMap, tables: dict[Any, Any]) -> None:
    for (student, teacher), table in tables.items():
        learnt = [row if isinstance(row, list) else [row] for row in table]
        expected = [(i, j) for i, row in enumerate(learnt, 1) for j in row if j]
        assert layer_map.pairs(student, teacher) == expected


def test_what_the_embeddings_learn() -> None:
    assert TopAligned(below=True).pairs(3, 12) == [(0, 9), (1, 10), (2, 11), (3, 12)]
    assert ExplicitPairs([2, 0, 2], [3, 1, 3]).pairs(2, 4) == [(0, 1), (2, 3)]


def built(teacher: LanguageModel, student: LanguageModel, **knobs: Any) -> HiddenStates:
    method = ready(HiddenStates(teacher=TeacherSpec("in memory"), **knobs), teacher, student)
    method.auxiliary.double()
    return method


@pytest.mark.parametrize("make_batch", [padded, packed])
@pytest.mark.parametrize("family", FAMILIES)
def test_terms_are_sums_over_transformers_own_hidden_states(family: str, make_batch: Any) -> None:
    """Of a teacher that is wider and deeper; the last state is behind the final norm."""
    batch, teacher, student = make_batch(), model(family, 16, 4), model(family, 8, 2, seed=1)
    knobs = {"projection": LinearProjection(), "embeddings": True, "alpha_states": 0.5}
    method = built(teacher, student, **knobs)
    terms = terms_of(method, batch)
    assert list(terms) == ["state_0_0", "state_1_2", "state_2_4"]
    if make_batch is packed:  # what padded texts give, which Transformers can compute
        terms_padded = terms_of(method, padded())
        for name, term in terms.items():
            assert term.sum.item() == pytest.approx(terms_padded[name].sum.item(), rel=1e-12)
        return
    read = {name: batch[name] for name in ("input_ids", "attention_mask")}
    ours, theirs = (
        m.model(**read, output_hidden_states=True).hidden_states for m in (student, teacher)
    )
    real = batch["attention_mask"].bool()
    for (own, other), term in zip(method.states.pairs, terms.values(), strict=True):
        projected = method.auxiliary[f"to_{other}_from_{own}"](ours[own][real])
        wanted = theirs[other][real]
        total = sum(
            squared_distance(s, t).real / 16
            for s, t in zip(projected.tolist(), wanted.tolist(), strict=True)
        )
        assert term.sum.item() == pytest.approx(total, rel=1e-12)
        assert (term.per, term.weight) == ("tokens", 0.5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_copy_of_the_teacher_has_nothing_to_learn(family: str) -> None:
    for loss in (StateCosine(), StateNormalisedMSE(both=True)):
        knobs: dict[str, Any] = {"loss": loss, "embeddings": True}
        plain = built(model(family, 8, 2), model(family, 8, 2), **knobs)
        equal = LinearProjection(start="identity")
        projected = built(model(family, 8, 2), model(family, 8, 2), projection=equal, **knobs)
        for method in (plain, projected):
            terms = terms_of(method, padded())
            assert max(abs(term.sum.item()) for term in terms.values()) < 1e-12


@pytest.mark.parametrize(
    ("per", "names"),
    [
        ("pair", ["to_1_from_1", "to_2_from_1", "to_3_from_2", "to_4_from_2"]),
        ("layer", ["from_1", "from_2"]),
        ("all", ["from_all"]),
    ],
)
def test_projections_are_shared_as_asked(per: Any, names: list[str]) -> None:
    teacher, student = model("bert", 16, 4), model("bert", 8, 2, seed=1)
    method = built(teacher, student, layer_map=OneToMany(), projection=LinearProjection(per))
    assert list(method.auxiliary) == names
    loss_of(padded(), terms_of(method, padded())).backward()
    assert all(p.grad is not None for p in method.auxiliary.parameters())


def test_what_no_state_reaches_is_not_trained() -> None:
    teacher, student = model("bert", 8, 4), model("bert", 8, 3, seed=1)
    method = built(teacher, student, layer_map=ExplicitPairs([2], [4]))
    loss_of(padded(), terms_of(method, padded())).backward()
    for name, parameter in student.model.named_parameters():
        reached = name.startswith(
            ("bert.embeddings.", "bert.encoder.layer.0.", "bert.encoder.layer.1.")
        )
        assert (parameter.grad is not None) == reached == parameter.requires_grad, name
    assert any("was not trained" in note for note in method.notes)


def test_unreached_layers_of_a_fresh_student_start_as_those_they_are_paired_with() -> None:
    teacher, spec = model("bert", 8, 4), FreshStudent(config={"num_hidden_layers": 2})
    student = spec.build(teacher, 0).double()
    method = HiddenStates(student=spec, teacher=TeacherSpec("x"), layer_map=ExplicitPairs([1], [2]))
    ready(method, teacher, student)
    assert method.counterparts() == {0: 1}
    ours, theirs = student.model.state_dict(), teacher.model.state_dict()
    head = "cls.predictions.transform.dense.weight"
    assert torch.equal(ours[head], theirs[head])


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({}, r"states are 8 wide and the teacher's 16, .*give it a LinearProjection"),
        (
            {"layer_map": EveryKth(3)},
            r"EveryKth pairs state 2 .* state 6 .* to 2 and 0 to 4",
        ),
        ({"layer_map": AllOnLast([4, 12])}, r"AllOnLast pairs state 2 .* state 12 "),
        ({"layer_map": ExplicitPairs([3], [1])}, r"ExplicitPairs pairs state 3 "),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_way_out(
    knobs: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        built(model("bert", 16, 4), model("bert", 8, 2, seed=1), **knobs)


def test_maps_from_below_to_above_are_refused() -> None:
    for layer_map in (Uniform(), LastOfGroup(), OneToMany(), TopAligned(), UniformPlusLast()):
        with pytest.raises(UserError, match=r"student's 4 layers one of the teacher's 2: use a"):
            layer_map.pairs(4, 2)
    for pairs in (([], []), ([1, 2], [2])):
        with pytest.raises(UserError, match=r"as many for both, such as \[1, 2\] and \[2, 4\]"):
            ExplicitPairs(*pairs).pairs(2, 4)
    with pytest.raises(UserError, match="later positions"):
        built(model("gpt2", 8, 2), model("bert", 8, 2))
    with pytest.raises(UserError, match="is 0, so nothing is learnt"):
        HiddenStates(alpha_states=0, teacher=TeacherSpec("x"))
