"""Narrower copies: at full width the teacher, below it what was chosen of every weight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import random_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from lit_distill.errors import UserError
from lit_distill.models import (
    ANATOMIES,
    LanguageModel,
    LayerCopyStudent,
    NarrowCopyStudent,
    declare_separate,
    student_from_state,
    student_state,
)
from lit_distill.models.architectures.widths import WIDTHS, widths_of
from lit_distill.models.students.narrowing.shape import narrower, shape_of
from lit_distill.models.students.narrowing.weights import Narrowing

ROTATED = ["gpt2", "llama", "mistral", "qwen2", "qwen3", "granite"]
IDS = torch.tensor([[7, 9, 11, 8, 30, 5, 39], [12, 6, 6, 31, 17, 22, 9]])


def logits(model: LanguageModel) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.model(input_ids=IDS).logits
    return found


def in_float64(model: LanguageModel) -> LanguageModel:
    """All in float64: the norms of Transformers' Llamas compute in float32 whatever they get."""
    for path, module in list(model.model.named_modules()):
        if type(module).__name__.endswith("RMSNorm"):
            owner, _, name = path.rpartition(".")
            norm = torch.nn.RMSNorm(module.weight.shape, eps=module.variance_epsilon)
            norm.weight.data.copy_(module.weight)
            setattr(model.model.get_submodule(owner), name, norm)
    return model.double()


def narrowed_in_float64(teacher: LanguageModel, start: NarrowCopyStudent) -> LanguageModel:
    """The student with weights that were never rounded to float32."""
    student = in_float64(start.build(teacher, 0))
    widths, old = widths_of(teacher.anatomy), shape_of(teacher.config, teacher.anatomy)
    new = narrower(old, widths, start.hidden_size, start.num_heads, start.intermediate_size)
    narrowing = Narrowing(teacher.anatomy, widths, old, new, start.how, start.feed_forward)
    student.model.load_state_dict(narrowing.apply(teacher.model.state_dict()), strict=True)
    return student


@pytest.mark.parametrize(
    "row",
    [row for row in ANATOMIES if row.model_type in WIDTHS],
    ids=lambda row: f"{row.architecture} {row.predicts.name}",
)
@pytest.mark.parametrize("feed_forward", ["even", "norm"])
def test_a_slice_of_all_dimensions_is_the_teacher(row: Any, feed_forward: Any) -> None:
    """Of bodies alone and of tasks, too: every weight of every class has known axes."""
    teacher = LanguageModel(random_model(row), row)
    student = NarrowCopyStudent(16, feed_forward=feed_forward).build(teacher, 0)
    assert type(student.model) is type(teacher.model)
    ours, theirs = student.model.state_dict(), teacher.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    config = {**teacher.config.to_dict(), "_name_or_path": "", "dtype": "float32"}
    assert {**student.config.to_dict(), "dtype": "float32"} == {
        **config,
        "architectures": [row.architecture],
    }
    half = NarrowCopyStudent(8, feed_forward=feed_forward).build(teacher, 0)
    assert half.hidden_size == 8


@pytest.mark.parametrize("family", ROTATED)
@pytest.mark.parametrize("tied", [True, False])
def test_a_rotation_of_all_dimensions_computes_what_the_teacher_does(
    family: str, tied: bool, make_model: Callable[..., Any]
) -> None:
    teacher = in_float64(LanguageModel(make_model(family, tie_word_embeddings=tied)))
    student = narrowed_in_float64(teacher, NarrowCopyStudent(16, how="svd"))
    torch.testing.assert_close(logits(student), logits(teacher), rtol=0, atol=1e-12)
    table = student.model.get_input_embeddings().weight
    head = student.anatomy.lm_head(student.model).weight
    assert head is not table
    changed = [
        name
        for name, value in student.model.state_dict().items()
        if value.dim() == 2 and torch.allclose(value, teacher.model.state_dict()[name], atol=1e-3)
    ]
    assert not changed  # every matrix was rotated


def confine(teacher: LanguageModel, map_De: Tensor) -> None:
    """Has all that writes into the stream write in these directions alone."""
    onto_DD = map_De @ map_De.T
    widths = widths_of(teacher.anatomy)
    with torch.no_grad():
        for name, value in teacher.model.named_parameters():
            axes = widths.axes(name)
            if name.endswith("lm_head.weight") or "norm" in name or "ln_" in name:
                continue
            if axes in ((".", "S"), ("H", "S")[::-1], ("S", "F"), ("S",)):
                dim = axes.index("S")
                moved = torch.tensordot(value, onto_DD, dims=([dim], [0])).movedim(-1, dim)
                value.copy_(moved)
            elif teacher.config.model_type == "gpt2" and axes in (("H", "S"), ("F", "S")):
                value.copy_(value @ onto_DD)


@pytest.mark.parametrize("family", ["llama", "qwen3", "granite"])
def test_a_stream_in_few_directions_loses_nothing_of_a_narrower_one(
    family: str, make_model: Callable[..., Any]
) -> None:
    """All heads and neurons stay, so that only the stream is cut: 16 dimensions, 12 in use."""
    model = make_model(family, tie_word_embeddings=False, rms_norm_eps=1e-14)
    teacher = in_float64(LanguageModel(model))
    confine(teacher, torch.linalg.qr(torch.randn(16, 12, dtype=torch.float64)).Q)
    start = NarrowCopyStudent(12, "svd", num_heads=4, intermediate_size=24)
    student = narrowed_in_float64(teacher, start)
    assert student.model.get_input_embeddings().weight.shape == (40, 12)
    torch.testing.assert_close(logits(student), logits(teacher), rtol=0, atol=1e-10)
    lossy = narrowed_in_float64(teacher, NarrowCopyStudent(8, "svd", 4, 24))
    assert float((logits(lossy) - logits(teacher)).abs().max()) > 1e-3


def test_a_stream_that_layer_norms_read_needs_one_dimension_more(
    make_model: Callable[..., Any],
) -> None:
    """GPT-2 with three of four heads in use, and 11 directions beside the mean of 16."""
    teacher = LanguageModel(make_model("gpt2", layer_norm_epsilon=1e-14)).double()
    ones = torch.full((16, 1), 0.25, dtype=torch.float64)
    numbers = torch.randn(16, 11, dtype=torch.float64)
    confine(teacher, torch.linalg.qr(torch.cat([ones, numbers], 1)).Q)  # the mean may be anything
    for layer in teacher.layers:
        layer.attn.c_proj.weight.data[12:] = 0.0  # the head that is not kept: 0, 1 and 2 of 4
    student = narrowed_in_float64(teacher, NarrowCopyStudent(12, "svd", intermediate_size=64))
    torch.testing.assert_close(logits(student), logits(teacher), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("family", "width", "heads", "table", "kept"),
    [("llama", 8, 2, "model.embed_tokens", 8), ("gpt2", 12, None, "transformer.wte", 11)],
)
def test_what_the_embeddings_lose_is_the_tail_of_their_singular_values(
    family: str, width: int, heads: int | None, table: str, kept: int,
    make_model: Callable[..., Any],
) -> None:  # fmt: skip
    """Lengths of rows say what was lost: directions are orthonormal."""
    teacher = in_float64(LanguageModel(make_model(family)))
    student = narrowed_in_float64(teacher, NarrowCopyStudent(width, "svd", heads))
    before = teacher.model.state_dict()[f"{table}.weight"]
    if family == "gpt2":  # whose norms take off the mean
        before = before - before.mean(1, keepdim=True)
    after = student.model.state_dict()[f"{table}.weight"]
    lost = before.square().sum() - after.square().sum()
    tail = torch.linalg.svdvals(before)[kept:].square().sum()
    torch.testing.assert_close(lost, tail, rtol=0, atol=1e-9)


def rows(first: int, *blocks: int) -> list[int]:
    """The numbers of blocks of four, behind `first`."""
    return [first + 4 * block + i for block in blocks for i in range(4)]


def test_slices_of_a_bert_are_its_first_dimensions_even_heads_and_neurons(
    bert: LanguageModel,
) -> None:
    student = NarrowCopyStudent(8, intermediate_size=9).build(bert, 0)
    ours, theirs = student.model.state_dict(), bert.model.state_dict()
    first, heads, neurons = list(range(8)), rows(0, 0, 2), [0, 2, 5, 8, 10, 13, 16, 18, 21]
    layer = "bert.encoder.layer.3."
    for name, kept in (
        ("bert.embeddings.word_embeddings.weight", (None, first)),
        ("bert.embeddings.LayerNorm.bias", (first,)),
        (f"{layer}attention.self.key.weight", (heads, first)),
        (f"{layer}attention.self.value.bias", (heads,)),
        (f"{layer}attention.output.dense.weight", (first, heads)),
        (f"{layer}intermediate.dense.bias", (neurons,)),  # floor(i 24 / 9)
        (f"{layer}output.dense.weight", (first, neurons)),
        ("cls.predictions.transform.dense.weight", (first, first)),
        ("cls.predictions.decoder.bias", (None,)),
    ):
        expected = theirs[name]
        for dim, numbers in enumerate(kept):
            if numbers is not None:
                expected = torch.stack([expected.select(dim, i) for i in numbers], dim)
        assert torch.equal(ours[name], expected), name
    assert (student.config.num_attention_heads, student.config.intermediate_size) == (2, 9)
    assert (
        student.model.get_input_embeddings().weight is student.anatomy.lm_head(student.model).weight
    )


def test_queries_keys_and_values_in_one_module_are_cut_each(
    make_model: Callable[..., Any],
) -> None:
    gpt2 = LanguageModel(make_model("gpt2"))
    student = NarrowCopyStudent(8).build(gpt2, 0)
    name = "transformer.h.1.attn.c_attn.weight"
    columns = [*rows(0, 0, 2), *rows(16, 0, 2), *rows(32, 0, 2)]
    ours, theirs = student.model.state_dict(), gpt2.model.state_dict()
    assert torch.equal(ours[name], theirs[name][:8][:, columns])
    assert torch.equal(ours[name[:-6] + "bias"], theirs[name[:-6] + "bias"][columns])
    modern = LanguageModel(make_model("modernbert"))
    narrow = NarrowCopyStudent(8).build(modern, 0).model.state_dict()
    gates = list(range(0, 48, 2))  # input and gate side by side, 24 each
    name = "model.layers.2.mlp.Wi.weight"
    assert torch.equal(narrow[name], modern.model.state_dict()[name][gates][:, :8])


def test_heads_that_share_keys_and_values_stay_together(make_model: Callable[..., Any]) -> None:
    llama = LanguageModel(make_model("llama", num_attention_heads=8, num_key_value_heads=4))
    student = NarrowCopyStudent(8).build(llama, 0)  # heads of width 2, in pairs
    config = student.config
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (4, 2, 2)
    ours, theirs = student.model.state_dict(), llama.model.state_dict()
    name = "model.layers.0.self_attn.{}_proj.weight"
    queries, keys = [0, 1, 2, 3, 8, 9, 10, 11], [0, 1, 4, 5]  # of groups 0 and 2
    assert torch.equal(ours[name.format("q")], theirs[name.format("q")][queries][:, :8])
    assert torch.equal(ours[name.format("v")], theirs[name.format("v")][keys][:, :8])
    assert torch.equal(ours[name.format("o")], theirs[name.format("o")][:8][:, queries])


@pytest.mark.parametrize("family", ["bert", "distilbert", "gpt2", "llama", "modernbert"])
def test_the_neurons_that_write_most_stay_in_their_order(
    family: str, make_model: Callable[..., Any]
) -> None:
    teacher = LanguageModel(make_model(family))
    widths, path = widths_of(teacher.anatomy), teacher.anatomy.layers_path
    writer = f"{path}.1.{widths.writes}.weight"
    state = teacher.model.state_dict()
    axes = widths.axes(writer)
    count = state[writer].shape[axes.index("F")]
    strong = [1, 4, 5, 11, 17, 20]
    with torch.no_grad():  # in one layer alone
        state[writer].mul_(1e-3).index_fill_(axes.index("F"), torch.tensor(strong), 1.0)
    start = NarrowCopyStudent(16, intermediate_size=len(strong), feed_forward="norm")
    ours = start.build(teacher, 0).model.state_dict()
    for name, value in ours.items():
        found = widths.axes(name)
        if name.startswith(f"{path}.1.") and any("F" in axis for axis in found):
            dim = next(i for i, axis in enumerate(found) if "F" in axis)
            numbers = [count * part + i for part in range(len(found[dim])) for i in strong]
            assert torch.equal(value, state[name].index_select(dim, torch.tensor(numbers))), name


@pytest.mark.parametrize("how", ["slice", "svd"])
@pytest.mark.parametrize("family", ROTATED)
def test_a_narrow_decoder_generates_with_its_cache_as_without(
    how: Any, family: str, make_model: Callable[..., Any]
) -> None:
    teacher = LanguageModel(make_model(family))
    student = NarrowCopyStudent(8, how, layers="spread", num_layers=3).build(teacher, 0).model
    options = {"max_new_tokens": 9, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    prompt = torch.tensor([[7, 9, 11, 8, 30]])
    cached = student.generate(prompt, use_cache=True, **options)
    assert cached.shape == (1, 14)
    assert torch.equal(cached, student.generate(prompt, use_cache=False, **options))


@pytest.mark.parametrize("how", ["slice", "svd"])
def test_layers_and_widths_are_cut_at_once(how: Any, make_model: Callable[..., Any]) -> None:
    teacher = LanguageModel(make_model("qwen2"))
    student = NarrowCopyStudent(8, how, layers=[0, 3], feed_forward="norm").build(teacher, 0)
    assert student.config.layer_types == [teacher.config.layer_types[i] for i in (0, 3)]
    carved = LayerCopyStudent([0, 3]).build(teacher, 0)
    again = NarrowCopyStudent(8, how, feed_forward="norm").build(carved, 0)
    for name, value in student.model.state_dict().items():
        torch.testing.assert_close(value, again.model.state_dict()[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("how", ["slice", "svd"])
def test_a_narrow_student_is_saved_and_restored(
    how: Any, make_model: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Heads are other than the hidden size, and the head's table may be its own."""
    teacher = LanguageModel(make_model("granite", tie_word_embeddings=True)).to(torch.bfloat16)
    student = NarrowCopyStudent(12, how, num_heads=2).build(teacher, 0)
    assert {parameter.dtype for parameter in student.parameters()} == {torch.float32}
    assert ("own: lm_head.weight" in caplog.text) == (how == "svd")
    again = student_from_state(student_state(student))
    again.load_state_dict(student.state_dict(), strict=True)
    assert torch.equal(logits(again), logits(student))
    expected = logits(student)
    declare_separate(student.model)
    student.model.save_pretrained(tmp_path)
    opened = LanguageModel(AutoModelForCausalLM.from_pretrained(tmp_path))
    assert torch.equal(logits(opened), expected)
    assert opened.config.tie_word_embeddings == (how == "slice")


@pytest.mark.parametrize(
    ("family", "hidden_size", "start", "message"),
    [
        ("bert", 20, {}, r"hidden_size=20: the teacher has 16"),
        ("bert", 10, {}, r"not divisible by 4, .* each of its 4 heads.*a multiple of 4\."),
        ("llama", 10, {}, r"use a multiple of 4 or give num_heads as well"),
        ("llama", 10, {"num_heads": 4}, r"cannot be used: .*not a multiple of the number of att"),
        ("bert", 8, {"num_heads": 3}, r"num_heads=3 of width 4 are 12 wide and hidden_size is 8"),
        ("llama", 8, {"num_heads": 6}, r"num_heads=6: the teacher has 4"),
        ("llama", 8, {"num_heads": 3}, r"2 of the teacher's 4 heads .* use a multiple of 2"),
        ("llama", 4, {}, r"num_heads=1: 2 of the teacher's 4 heads"),
        ("bert", 8, {"intermediate_size": 25}, r"intermediate_size=25: the teacher has 24"),
        ("bert", 16, {"num_layers": 2}, r"layers, which is by what rule, is missing"),
        ("bert", 8, {"how": "svd"}, r"a BertForMaskedLM have a meaning of their own"),
        ("modernbert", 8, {"how": "svd"}, r"use how=slice, or FreshStudent"),
        ("gpt2", 1, {"how": "svd"}, r"needs a hidden_size of at least 2"),
        ("t5", 8, {}, r"cannot narrow a T5For.*knows the widths of bert, .*two streams"),
        ("gemma2", 8, {}, r"cannot narrow a Gemma2For.*root of its width"),
        ("gpt2", 8, {"layers": "shrink_and_fine_tune"}, r"and the teacher has 4 layers"),
    ],
)
def test_what_cannot_be_narrowed_says_why(
    family: str,
    hidden_size: int,
    start: dict[str, Any],
    message: str,
    make_model: Callable[..., Any],
) -> None:
    teacher = LanguageModel(make_model(family))
    with pytest.raises(UserError, match=message):
        NarrowCopyStudent(hidden_size, **start).build(teacher, 0)


def test_a_narrow_copy_needs_a_teacher_and_a_rotation_his_head(
    make_model: Callable[..., Any],
) -> None:
    with pytest.raises(UserError, match=r"none is given.*teacher\.name"):
        NarrowCopyStudent(8).build(None, 40)
    body = next(row for row in ANATOMIES if row.architecture == "LlamaModel")
    teacher = LanguageModel(random_model(body))
    with pytest.raises(UserError, match=r"gain of the last norm into the head, and a LlamaModel"):
        NarrowCopyStudent(8, how="svd").build(teacher, 0, needs_head=False)
    sevenths = LanguageModel(make_model("bert", intermediate_size=7))
    with pytest.raises(UserError, match=r"intermediate_size 7 does not scale"):
        NarrowCopyStudent(8).build(sevenths, 0)
