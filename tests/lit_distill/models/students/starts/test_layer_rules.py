"""Rules of which layers stay: each by a table, and by what all of them preserve."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_args

import pytest
import torch

from lit_distill.errors import UserError
from lit_distill.models import LanguageModel, LayerCopyStudent
from lit_distill.models.students.starts.layer_rules import (
    DISTILBERT_LAYERS,
    SHRINK_AND_FINE_TUNE,
    Rule,
    pick_layers,
)
from lit_distill.training.states.layer_maps import LastOfGroup

RULES = [rule for rule in get_args(Rule) if rule != "distilbert"]  # 6 of 12 is all that it has


@pytest.mark.parametrize(
    ("rule", "count", "keep", "expected"),
    [
        ("every_other", 24, 6, [0, 4, 8, 12, 16, 20]),
        ("every_other", 12, 3, [0, 4, 8]),
        ("last_of_group", 12, 6, [1, 3, 5, 7, 9, 11]),  # BiStil: (j + 1) k - 1
        ("last_of_group", 24, 6, [3, 7, 11, 15, 19, 23]),
        ("last_of_group", 12, 4, [2, 5, 8, 11]),
        ("last_of_group", 12, 5, [2, 5, 7, 9, 11]),
        ("last_of_group", 12, 1, [11]),
        ("spread", 12, 6, [0, 2, 4, 7, 9, 11]),
        ("spread", 24, 6, [0, 5, 9, 14, 18, 23]),
        ("spread", 24, 12, [0, 2, 4, 6, 8, 10, 13, 15, 17, 19, 21, 23]),
        ("spread", 12, 4, [0, 4, 7, 11]),
        ("spread", 12, 3, [0, 6, 11]),
        ("spread", 12, 1, [0]),
        ("middle_out", 12, 6, [0, 1, 2, 9, 10, 11]),
        ("middle_out", 24, 6, [0, 1, 2, 21, 22, 23]),
        ("middle_out", 12, 3, [0, 1, 11]),
        ("middle_out", 5, 1, [0]),
        ("first", 24, 6, [0, 1, 2, 3, 4, 5]),
        ("last", 12, 3, [9, 10, 11]),
        # make_student.py, by hand: a rounded linspace gives other layers for 2, 4 and 9 of 12
        ("shrink_and_fine_tune", 12, 1, [0]),
        ("shrink_and_fine_tune", 12, 2, [0, 6]),
        ("shrink_and_fine_tune", 12, 3, [0, 6, 11]),
        ("shrink_and_fine_tune", 12, 4, [0, 4, 8, 11]),
        ("shrink_and_fine_tune", 12, 6, [0, 2, 4, 7, 9, 11]),
        ("shrink_and_fine_tune", 12, 9, [0, 1, 2, 4, 5, 7, 9, 10, 11]),
        ("shrink_and_fine_tune", 16, 2, [0, 15]),
        ("shrink_and_fine_tune", 16, 3, [0, 8, 15]),
        ("shrink_and_fine_tune", 16, 4, [0, 5, 10, 15]),
        ("shrink_and_fine_tune", 16, 6, [0, 3, 6, 9, 12, 15]),
        ("shrink_and_fine_tune", 16, 8, [0, 2, 4, 6, 8, 10, 12, 15]),
        ("shrink_and_fine_tune", 16, 9, [0, 1, 3, 5, 7, 9, 11, 13, 15]),
        ("shrink_and_fine_tune", 16, 12, [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 15]),
        ("shrink_and_fine_tune", 6, 1, [0]),
        ("shrink_and_fine_tune", 6, 2, [0, 5]),
        ("shrink_and_fine_tune", 6, 3, [0, 2, 5]),
        ("shrink_and_fine_tune", 6, 4, [0, 1, 3, 5]),
    ],
)
def test_rules_are_their_tables(rule: str, count: int, keep: int, expected: list[int]) -> None:
    assert pick_layers(rule, keep, count) == expected


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_gives_as_many_layers_as_were_asked_in_order(rule: str) -> None:
    for count in range(1, 33):
        sizes = SHRINK_AND_FINE_TUNE.get(count, {}) if "shrink" in rule else range(1, count + 1)
        for keep in sizes:
            picked = pick_layers(rule, keep, count)
            assert len(picked) == keep
            assert picked == sorted({*picked})
            assert {*picked} <= {*range(count)}
            assert keep < count or picked == list(range(count))
            if rule in ("spread", "middle_out") and keep > 1:
                assert (picked[0], picked[-1]) == (0, count - 1)
            if rule == "spread":
                steps = [after - before for before, after in pairwise(picked)]
                assert not steps or max(steps) - min(steps) <= 1


def test_the_last_of_a_group_is_the_layer_that_the_map_of_that_name_supervises() -> None:
    for count in range(1, 33):
        for keep in range(1, count + 1):
            supervised = [other - 1 for _, other in LastOfGroup().pairs(keep, count)]
            assert pick_layers("last_of_group", keep, count) == supervised


def test_the_published_tables_are_no_rounded_linspace() -> None:
    unlike = [
        (count, keep)
        for count, rows in SHRINK_AND_FINE_TUNE.items()
        for keep, layers in rows.items()
        if layers != pick_layers("spread", keep, count)
    ]
    assert unlike == [(6, 3), (6, 4), (12, 2), (12, 4), (12, 9), (16, 8), (16, 9), (16, 12)]
    assert pick_layers("shrink_and_fine_tune", 6, 12) == DISTILBERT_LAYERS


@pytest.mark.parametrize(
    ("keep", "count", "message"),
    [
        (5, 12, r"students of 1, 2, 3, 4, 6, 9 and 12 layers of 12, .* 5 are wanted.*'spread'"),
        (None, 24, r"teachers of 6, 12 and 16 layers, and the teacher has 24 .* 12 are wanted"),
        (13, 12, r"num_layers=13: the teacher has 12 layers; keep 1 to 12"),
    ],
)
def test_a_size_without_a_row_is_refused(keep: int | None, count: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pick_layers("shrink_and_fine_tune", keep, count)


@torch.no_grad()
def test_a_student_of_all_layers_by_any_rule_is_the_teacher(
    family: str, make_model: Callable[..., Any], make_batch: Callable[..., Any]
) -> None:
    """Six layers of everything: the published tables have a row for them."""
    names = ("num_hidden_layers", "n_layers", "n_layer")
    names += ("num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers")
    known = make_model(family).config.to_dict()
    teacher = LanguageModel(make_model(family, **{name: 6 for name in names if name in known}))
    batch = make_batch(teacher)
    rows = batch["tokens"]
    expected = teacher.logits(teacher.encode(batch).rows(rows))
    for rule in RULES:
        encoder = {"encoder_layers": rule, "num_encoder_layers": 6} if teacher.reads_pairs else {}
        student = LayerCopyStudent(rule, 6, **encoder).build(teacher, 0)
        assert len(student.layers) == 6
        assert len(student.anatomy.encoder_layers(student.model)) == 6 * teacher.reads_pairs
        assert torch.equal(student.logits(student.encode(batch).rows(rows)), expected)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", ["gpt2", "llama", "bart"])
def test_what_a_rule_carves_generates_with_its_cache_as_without(
    rule: Any, family: str, make_model: Callable[..., Any]
) -> None:
    depth = {"bart": {"decoder_layers": 6}, "gpt2": {"n_layer": 6}}
    changes = depth.get(family, {"num_hidden_layers": 6})
    teacher = LanguageModel(make_model(family, **changes))
    student = LayerCopyStudent(rule, 3).build(teacher, 0)
    attention = student.anatomy.attention_path
    numbers = [layer.get_submodule(attention).layer_idx for layer in student.layers]
    assert numbers == [0, 1, 2]
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    options |= {"num_beams": 1, "forced_eos_token_id": None, "bad_words_ids": None}
    prompt = torch.tensor([[7, 9, 11, 8, 30]])
    cached = student.model.generate(prompt, use_cache=True, **options)
    assert torch.equal(cached, student.model.generate(prompt, use_cache=False, **options))


def test_an_encoder_is_carved_by_a_rule_and_a_number(make_model: Callable[..., Any]) -> None:
    teacher = LanguageModel(make_model("bart", encoder_layers=6))
    start = LayerCopyStudent(
        "spread", 2, encoder_layers="shrink_and_fine_tune", num_encoder_layers=4
    )
    student = start.build(teacher, 0)
    ours, theirs = student.model.state_dict(), teacher.model.state_dict()
    for new, old in enumerate([0, 1, 3, 5]):
        name = "model.encoder.layers.{}.fc1.weight"
        assert torch.equal(ours[name.format(new)], theirs[name.format(old)])
    for new, old in enumerate([0, 3]):
        name = "model.decoder.layers.{}.encoder_attn.k_proj.weight"
        assert torch.equal(ours[name.format(new)], theirs[name.format(old)])
    with pytest.raises(UserError, match=r"num_encoder_layers=4 .* encoder_layers, .* is missing"):
        LayerCopyStudent(num_encoder_layers=4)
