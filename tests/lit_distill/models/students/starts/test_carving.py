from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lit_distill.errors import UserError
from lit_distill.models import FreshStudent, LanguageModel, LayerCopyStudent
from lit_distill.models.students.starts.carving import carve_layers
from lit_distill.models.students.starts.distilbert import distilbert_config, distilbert_weights
from lit_distill.models.students.starts.layer_rules import pick_layers, respect_kinds


@pytest.mark.parametrize(
    ("choice", "keep", "count", "expected"),
    [
        ("every_other", None, 12, [0, 2, 4, 6, 8, 10]),
        ("every_other", None, 6, [0, 2, 4]),
        ("every_other", None, 5, [0, 2]),
        ("every_other", None, 1, [0]),
        ("every_other", 4, 12, [0, 3, 6, 9]),
        ("every_other", 5, 12, [0, 2, 4, 7, 9]),
        ("every_other", 12, 12, list(range(12))),
        ("first", None, 12, [0, 1, 2, 3, 4, 5]),
        ("first", 2, 5, [0, 1]),
        ("last", None, 12, [6, 7, 8, 9, 10, 11]),
        ("last", 2, 5, [3, 4]),
        ("distilbert", None, 12, [0, 2, 4, 7, 9, 11]),
        ("distilbert", 6, 12, [0, 2, 4, 7, 9, 11]),
        ([0, 5, 3], None, 6, [0, 5, 3]),
        ([0, 5], 2, 6, [0, 5]),
    ],
)
def test_layer_choice(choice: Any, keep: int | None, count: int, expected: list[int]):
    assert pick_layers(choice, keep, count) == expected


def layer_kinds(count: int, every: int, first: int) -> list[str]:
    return [
        "full_attention" if number % every == first else "sliding_attention"
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("kinds", "keep", "expected"),
    [
        # Gemma 3 270M, Gemma 2 2B, ModernBERT base: the first two kept 0 full layers of 9 and of 13
        (layer_kinds(18, 6, 5), 9, [0, 2, 4, 5, 7, 9, 11, 12, 14]),
        (layer_kinds(26, 2, 1), 13, [0, 1, 2, 5, 6, 9, 10, 13, 14, 17, 18, 21, 22]),
        (layer_kinds(22, 3, 0), 11, list(range(0, 22, 2))),
        (layer_kinds(18, 6, 5), 2, [0, 5]),
        (["full_attention"] * 6, 3, [0, 2, 4]),
    ],
)
def test_every_kind_of_attention_keeps_its_share(
    kinds: list[str], keep: int, expected: list[int], caplog: pytest.LogCaptureFixture
):
    plain = pick_layers("every_other", keep, len(kinds))
    assert respect_kinds("every_other", plain, kinds) == expected
    assert not caplog.messages


@pytest.mark.parametrize(("count", "every"), [(18, 6), (26, 2), (34, 6), (62, 6), (5, 3), (28, 4)])
def test_shares_are_shares_for_every_number_of_layers(count: int, every: int):
    kinds = layer_kinds(count, every, every - 1)
    for keep in range(2, count + 1):
        picked = respect_kinds("every_other", pick_layers("every_other", keep, count), kinds)
        assert len(set(picked)) == keep
        assert picked == sorted(picked)
        for kind in set(kinds):
            kept, wanted = sum(kinds[i] == kind for i in picked), kinds.count(kind) * keep / count
            assert kept >= 1
            assert abs(kept - wanted) < 1


@pytest.mark.parametrize("choice", ["first", "last", [0, 1, 2]])
def test_a_choice_that_loses_a_kind_says_so(choice: Any, caplog: pytest.LogCaptureFixture):
    kinds = layer_kinds(18, 6, 3)
    picked = pick_layers(choice, 3 if isinstance(choice, str) else None, 18)
    kept = respect_kinds(choice, picked, kinds)
    assert kept == picked
    lost = picked != [15, 16, 17]  # 15 is full
    assert (
        "keeps none of the teacher's 3 layers of full_attention (3, 9, 15)" in caplog.text
    ) == lost


@pytest.mark.parametrize("family", ["gemma2", "gemma3_text"])
def test_half_a_gemma_attends_in_both_ways(family: str, make_model: Callable[..., Any]):
    kinds = layer_kinds(8, 2, 1) if family == "gemma2" else layer_kinds(6, 6, 5)
    teacher = LanguageModel(make_model(family, num_hidden_layers=len(kinds), layer_types=kinds))
    student = LayerCopyStudent().build(teacher, 0)
    expected = {"gemma2": [0, 1, 4, 5], "gemma3_text": [0, 2, 5]}[family]
    assert student.config.layer_types == [kinds[number] for number in expected]
    assert set(student.config.layer_types) == set(kinds)
    for new, old in enumerate(expected):
        ours, theirs = student.layers[new].state_dict(), teacher.layers[old].state_dict()
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    fresh = FreshStudent(config={"num_hidden_layers": 3}).build(teacher, 0)
    assert set(fresh.config.layer_types) == set(kinds)


@pytest.mark.parametrize(
    ("choice", "keep", "count", "message"),
    [
        ("distilbert", None, 6, r"of 12.*the teacher has 6 and 3 are wanted.*'every_other'"),
        ("distilbert", 4, 12, r"the teacher has 12 and 4 are wanted"),
        ("first", 0, 4, r"num_layers=0: the teacher has 4 layers; keep 1 to 4"),
        ("last", 5, 4, r"num_layers=5: the teacher has 4 layers"),
        ([0, 4, -1], None, 4, r"\[4, -1\] do not exist; .* 4 layers are numbered 0 to 3"),
        ([1, 2, 1], None, 4, r"\[1\] appear more than once"),
        ([], None, 4, r"at least one layer"),
        ([0, 1], 3, 4, r"names 2 layers and num_layers is 3"),
        ("every_second", None, 4, r"'every_second': choose every_other, last_of_group"),
    ],
)
def test_impossible_choices_say_why(choice: Any, keep: int | None, count: int, message: str):
    with pytest.raises(UserError, match=message):
        pick_layers(choice, keep, count)


def test_carved_layers_are_the_teachers(model: LanguageModel, family: str):
    before = copy.deepcopy(model.model.state_dict())
    config = copy.deepcopy(model.config.to_dict())
    attention = model.config._attn_implementation
    picked = [0, 3] if family == "modernbert" else [3, 1]
    numbers = model.anatomy.layer_numbers(model.model)
    student = LayerCopyStudent(picked).build(model, 0)
    assert type(student.model) is type(model.model)
    assert len(student.layers) == getattr(student.config, model.anatomy.layer_count) == 2
    if config.get("layer_types"):
        assert student.config.layer_types == [config["layer_types"][number] for number in picked]
    prefix = model.anatomy.layers_path + "."
    teacher, state = model.model.state_dict(), student.model.state_dict()
    for name, value in state.items():
        source = name
        for new, old in enumerate(numbers[number] for number in picked):
            if name.startswith(f"{prefix}{new}.") and "relative_attention_bias" not in name:
                source = name.replace(f"{prefix}{new}.", f"{prefix}{old}.")
        assert torch.equal(value, teacher[source]), name
        assert value.data_ptr() != teacher[source].data_ptr()
    assert not student.training
    fixed = [name for name, value in student.named_parameters() if not value.requires_grad]
    assert all("embed_positions" in name for name in fixed)  # Marian's
    # The teacher is as it was, and shares no config.
    assert model.config.to_dict() == config
    assert all(torch.equal(value, before[name]) for name, value in teacher.items())
    student.model.set_attn_implementation("eager")
    student.config.hidden_dropout_prob = 0.7
    assert model.config._attn_implementation == attention
    assert model.config.to_dict() == config


def test_a_student_with_all_layers_is_the_teacher(model: LanguageModel, batch: Any):
    student = LayerCopyStudent("first", num_layers=4).build(model, 0)
    rows = batch["tokens"]
    ours = student.logits(student.encode(batch).rows(rows))
    assert torch.equal(ours, model.logits(model.encode(batch).rows(rows)))


def test_ties_survive_carving(model: LanguageModel, make_model: Callable[..., Any], family: str):
    if model.config.tie_word_embeddings:
        student = LayerCopyStudent().build(model, 0)
        embedding = student.model.get_input_embeddings().weight
        assert student.anatomy.lm_head(student.model).weight is embedding
    untied = LanguageModel(make_model(family, tie_word_embeddings=False))
    if untied.config.tie_word_embeddings:  # T5 always is
        return
    student = LayerCopyStudent().build(untied, 0)
    decoder = student.anatomy.lm_head(student.model).weight
    assert decoder is not student.model.get_input_embeddings().weight
    assert torch.equal(decoder, untied.anatomy.lm_head(untied.model).weight)


def test_a_carved_decoder_generates_with_its_cache_as_without(
    make_model: Callable[..., Any], causal_family: str
):
    """Layers find their place in the cache, and their kind of attention, by their new numbers."""
    teacher = LanguageModel(make_model(causal_family))
    student = LayerCopyStudent([0, 3]).build(teacher, 0).model
    prompt = torch.tensor([[7, 9, 11, 8, 30]])
    options = {"max_new_tokens": 9, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    options |= {"num_beams": 1, "forced_eos_token_id": None, "bad_words_ids": None}
    cached = student.generate(prompt, use_cache=True, **options)
    assert cached.shape == (1, 10 if teacher.reads_pairs else 14)
    assert torch.equal(cached, student.generate(prompt, use_cache=False, **options))


def test_layers_that_would_compute_something_else_are_refused(make_model: Callable[..., Any]):
    modern = LanguageModel(make_model("modernbert"))
    with pytest.raises(UserError, match=r"layer 0 alone has no norm .* a list that starts with 0"):
        LayerCopyStudent("last").build(modern, 0)
    scaled = LanguageModel(make_model("gpt2", scale_attn_by_inverse_layer_idx=True))
    with pytest.raises(UserError, match=r"divides attention by the number of the layer"):
        LayerCopyStudent().build(scaled, 0)
    assert len(LayerCopyStudent("first").build(scaled, 0).layers) == 2


def test_the_encoder_of_an_encoder_decoder_is_kept_or_carved(make_model: Callable[..., Any]):
    teacher = LanguageModel(make_model("t5"))
    whole = LayerCopyStudent("last").build(teacher, 0)
    assert (len(whole.layers), len(whole.anatomy.encoder_layers(whole.model))) == (2, 3)
    student = LayerCopyStudent("last", encoder_layers=[0, 2]).build(teacher, 0)
    assert (student.config.num_decoder_layers, student.config.num_layers) == (2, 2)
    ours, theirs = student.model.state_dict(), teacher.model.state_dict()
    for name, source in (
        ("encoder.block.1.layer.0.SelfAttention.q", "encoder.block.2.layer.0.SelfAttention.q"),
        ("decoder.block.0.layer.1.EncDecAttention.k", "decoder.block.2.layer.1.EncDecAttention.k"),
    ):
        assert torch.equal(ours[f"{name}.weight"], theirs[f"{source}.weight"])
    bias = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    assert torch.equal(ours[bias], theirs[bias])
    with pytest.raises(UserError, match=r"is for encoder-decoders, .* a BertForMaskedLM"):
        LayerCopyStudent(encoder_layers="first").build(LanguageModel(make_model("bert")), 0)


def test_a_bfloat16_teacher_gives_a_float32_student(model: LanguageModel):
    model.to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    student = LayerCopyStudent().build(model, 0)
    assert {parameter.dtype for parameter in student.parameters()} == {torch.float32}
    assert student.config.dtype == torch.float32
    assert model.config.dtype == torch.bfloat16


def test_bert_becomes_distilbert_with_the_same_embeddings_and_logits(
    bert: LanguageModel, make_batch: Callable[..., Any]
):
    batch = make_batch(bert)
    student = LayerCopyStudent("first", num_layers=4, distilbert=True).build(bert, 0)
    assert student.config.model_type == "distilbert"
    assert (student.config.dim, student.config.hidden_dim, student.config.n_heads) == (16, 24, 4)
    assert len(student.layers) == 4
    theirs = bert.anatomy.embeddings(bert.model)(batch["input_ids"])
    ours = student.anatomy.embeddings(student.model)(batch["input_ids"])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    rows = batch["tokens"]
    torch.testing.assert_close(
        student.logits(student.encode(batch).rows(rows)),
        bert.logits(bert.encode(batch).rows(rows)),
        rtol=1e-5,
        atol=2e-5,
    )
    embedding = student.model.get_input_embeddings().weight
    assert student.anatomy.lm_head(student.model).weight is embedding


def test_the_fold_is_exact_in_float64(bert: LanguageModel, make_batch: Callable[..., Any]):
    batch = make_batch(bert)
    bert.double()
    distil = bert_as_distilbert(bert)
    theirs = bert.anatomy.embeddings(bert.model)(batch["input_ids"])
    ours = distil.anatomy.embeddings(distil.model)(batch["input_ids"])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)
    rows = batch["tokens"]
    torch.testing.assert_close(
        distil.logits(distil.encode(batch).rows(rows)),
        bert.logits(bert.encode(batch).rows(rows)),
        rtol=0,
        atol=1e-12,
    )


def bert_as_distilbert(bert: LanguageModel) -> LanguageModel:
    student = LayerCopyStudent("first", num_layers=4, distilbert=True).build(bert, 0).double()
    student.model.load_state_dict(distilbert_weights(carve_layers(bert, [0, 1, 2, 3])))
    return student


def test_the_fold_of_a_bfloat16_teacher_is_not_rounded(bert: LanguageModel):
    bert.to(torch.bfloat16)
    embeddings: Any = bert.anatomy.embeddings(bert.model)
    student = LayerCopyStudent(distilbert=True).build(bert, 0)
    folded: Any = student.anatomy.embeddings(student.model)
    expected = (
        embeddings.position_embeddings.weight.float()
        + embeddings.token_type_embeddings.weight[0].float()
    )
    assert torch.equal(folded.position_embeddings.weight, expected)


def test_only_a_bert_with_distilberts_epsilon_becomes_a_distilbert(
    make_model: Callable[..., Any],
):
    with pytest.raises(UserError, match=r"the teacher is a roberta: leave it out"):
        LayerCopyStudent(distilbert=True).build(LanguageModel(make_model("roberta")), 0)
    other = LanguageModel(make_model("bert", layer_norm_eps=1e-5))
    with pytest.raises(UserError, match=r"epsilon 1e-12 and the teacher with 1e-05"):
        distilbert_config(other, 2)


def test_carving_needs_a_teacher():
    with pytest.raises(UserError, match=r"none is given.*teacher\.name.*PretrainedStudent"):
        LayerCopyStudent().build(None, 40)
