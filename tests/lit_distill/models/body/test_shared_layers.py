"""ALBERT: one group of layers that runs at several depths, against Transformers' own outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models import LanguageModel, LayerCopyStudent, Projection, Site, projections
from lit_distill.models.students.freezing import copy_matching_weights, freeze_body

GROUPS = {1: [0, 0, 0, 0], 2: [0, 0, 1, 1], 3: [0, 0, 1, 2], 4: [0, 1, 2, 3]}
KINDS: tuple[Projection, ...] = ("query", "key", "value")


@pytest.fixture(params=GROUPS)
def albert(request: pytest.FixtureRequest, make_model: Callable[..., Any]) -> LanguageModel:
    return LanguageModel(make_model("albert", num_hidden_groups=request.param).double())


@pytest.fixture
def batch(albert: LanguageModel, make_batch: Callable[..., Batch]) -> Batch:
    return make_batch(albert)


def test_every_depth_is_a_layer(albert: LanguageModel) -> None:
    groups = albert.model.albert.encoder.albert_layer_groups
    numbers = GROUPS[len(groups)]
    assert [list(groups).index(layer) for layer in albert.layers] == numbers
    assert albert.anatomy.layer_numbers(albert.model) == numbers


def test_states_and_attention_of_each_depth_are_transformers_own(
    albert: LanguageModel, batch: Batch
) -> None:
    inputs: Any = {key: batch[key] for key in ("input_ids", "attention_mask")}  # type: ignore[literal-required]
    albert.model.set_attn_implementation("eager")
    own = albert.model(**inputs, output_hidden_states=True, output_attentions=True)
    sites = [Site("hidden", depth) for depth in range(4)]
    sites += [Site("attention", depth) for depth in (3, 0, 2)]
    captured = albert.encode(batch, capture=sites).captured
    for site in sites:
        expected = own.attentions if site.kind == "attention" else own.hidden_states[1:]
        assert torch.equal(captured[site], expected[site.layer]), site
    for kind in KINDS:
        for depth, layer in enumerate(albert.layers):
            read = own.hidden_states[depth]
            linear: nn.Module = getattr(layer.albert_layers[0].attention, kind)
            found = projections(albert, batch, depth, [kind])[kind]
            assert torch.equal(found, linear(read)), (kind, depth)
    for last in range(4):
        stopped = albert.encode(batch, last_layer=last, capture=[Site("value", last)])
        assert torch.equal(stopped.hidden, own.hidden_states[last + 1])
    read = albert.capture(batch, [Site("embeddings")])[Site("embeddings")]
    assert torch.equal(read, own.hidden_states[0])
    assert read.shape[-1] == 16  # behind the projection


def test_a_shared_layer_gets_the_gradients_of_all_depths_below(
    make_model: Callable[..., Any], make_batch: Callable[..., Batch]
) -> None:
    """As many copies of the layer, one for each depth, have gradients that add up to its own."""
    shared = LanguageModel(make_model("albert", num_hidden_groups=1).double())
    apart = LanguageModel(make_model("albert", num_hidden_groups=4).double())
    groups = apart.model.albert.encoder.albert_layer_groups
    weights = shared.model.state_dict()
    for name in apart.model.state_dict():
        if ".albert_layer_groups." in name:
            path, _, rest = name.partition(".albert_layer_groups.")
            weights[name] = weights[f"{path}.albert_layer_groups.0.{rest.partition('.')[2]}"]
    apart.model.load_state_dict(weights)
    batch = make_batch(shared)
    for model in (shared, apart):
        found = model.encode(batch, capture=[Site("hidden", 1), Site("query", 2)]).captured
        torch.stack([value.sin().sum() for value in found.values()]).sum().backward()
    whole = dict(shared.model.albert.encoder.albert_layer_groups[0].named_parameters())
    for name, parameter in whole.items():
        parts = [dict(group.named_parameters())[name].grad for group in groups]
        assert parts[3] is None  # above all that was captured
        total = torch.stack([part for part in parts if part is not None]).sum(0)
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, total, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("groups", "picked", "kept"),
    [
        (1, [0, 3], [0]),
        (2, [1, 2], [0, 1]),
        (2, [2, 3], [1]),
        (4, [3, 0], [3, 0]),
        (3, [1, 2], [0, 1]),
    ],
)
def test_fewer_depths_keep_their_groups(
    groups: int, picked: list[int], kept: list[int], make_model: Callable[..., Any]
) -> None:
    teacher = LanguageModel(make_model("albert", num_hidden_groups=groups))
    student = LayerCopyStudent(picked).build(teacher, 0)
    assert student.config.num_hidden_layers == len(picked) == len(student.layers)
    assert student.config.num_hidden_groups == len(kept)
    ours, theirs = student.model.state_dict(), teacher.model.state_dict()
    path = "albert.encoder.albert_layer_groups"
    for name, value in ours.items():
        number = name.removeprefix(f"{path}.").partition(".")[0]
        source = name.replace(f"{path}.{number}.", f"{path}.{kept[int(number)]}.") if (
            name.startswith(path)
        ) else name  # fmt: skip
        assert torch.equal(value, theirs[source]), name


def test_half_of_the_depths_of_one_group_end_where_the_teacher_is_half_way(
    make_model: Callable[..., Any], make_batch: Callable[..., Batch]
) -> None:
    teacher = LanguageModel(make_model("albert", num_hidden_groups=1))
    student = LayerCopyStudent(num_layers=2).build(teacher, 0)
    batch = make_batch(teacher)
    assert torch.equal(student.encode(batch).hidden, teacher.encode(batch, last_layer=1).hidden)
    count = sum(parameter.numel() for parameter in teacher.parameters())
    assert sum(parameter.numel() for parameter in student.parameters()) == count


def test_what_shared_layers_cannot_do_is_refused(make_model: Callable[..., Any]) -> None:
    two = LanguageModel(make_model("albert", num_hidden_groups=2))
    with pytest.raises(UserError, match=r"groups \[0, 1, 1\].*evenly as can be"):
        LayerCopyStudent([0, 2, 3]).build(two, 0)
    with pytest.raises(UserError, match=r"top_layers=1: .*AlbertForMaskedLM share.*group 1 run"):
        freeze_body(two, 1)
    freeze_body(two, 2)  # a whole group
    trained = {name for name, p in two.model.named_parameters() if p.requires_grad}
    path = "albert.encoder.albert_layer_groups"
    assert any(name.startswith(f"{path}.1.") for name in trained)
    assert not any(name.startswith(f"{path}.0.") for name in trained)
    with pytest.raises(UserError, match=r"2 layers in each group \(inner_group_num\)"):
        LanguageModel(make_model("albert", inner_group_num=2))


def test_matching_weights_are_copied_by_group(make_model: Callable[..., Any]) -> None:
    teacher = LanguageModel(make_model("albert", num_hidden_groups=2))
    student = LayerCopyStudent([0, 2]).build(teacher, 0)
    names = [name for name, _ in student.model.named_parameters() if "ffn.weight" in name]
    with torch.no_grad():
        for name in names:
            student.model.get_parameter(name).zero_()
    assert copy_matching_weights(student, teacher, names, {0: 1, 1: 3}) == names
    for name in names:
        assert torch.equal(student.model.get_parameter(name), teacher.model.get_parameter(name))
