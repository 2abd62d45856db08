"""GKD against loops over single texts, and what must not change its loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from loss_cases import CASES
from oracles.on_policy import continuation, mean_along
from prompts import Asked

from lit_distill.batch import IGNORED, Batch, read_ids
from lit_distill.counter_random import Purpose, key
from lit_distill.errors import UserError
from lit_distill.losses import AccumulationWindow, Divergence, ForwardKL
from lit_distill.methods import GKD, SupervisedKD
from lit_distill.models import Sampling
from lit_distill.models.generation.token_draws import uniforms

SHORT = Sampling(6, temperature=2)
Writers = Any  # of conftest.py
LossAndGradient = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def on_policy(writers: Writers, divergence: Divergence = ForwardKL(), **knobs: Any) -> GKD:  # noqa: B008
    knobs = {"sampling": SHORT, "student_share": 1.0, **knobs}
    return writers.built(GKD(divergence, teacher=writers.spec, **knobs))


def written(batch: Batch) -> list[list[int]]:
    """The targets of every text of a batch."""
    ids = batch.get("decoder_input_ids", batch["input_ids"])
    texts: list[list[int]] = [[] for _ in ids]
    for row, target in zip(batch["rows"].tolist(), batch["targets"].tolist(), strict=True):
        texts[row // ids.shape[1]].append(target)
    return texts


@pytest.mark.parametrize("name", ["jsd", "reverse kl at 2"])
def test_it_is_the_formula(
    writers: Writers,
    name: str,
    logits_by: Callable[..., Any],
    loss_and_gradient: LossAndGradient,
) -> None:
    """What the student writes too, token by token from whole forwards."""
    case = CASES[name]
    method, texts = on_policy(writers, case.loss), writers.asked()
    parts = writers.batch(texts[:1]), writers.batch(texts[1:])
    batches = writers.opened(method, *parts)
    student, teacher = logits_by(method.student), logits_by(method.teacher)
    seed = int(key(0, Purpose.SAMPLING, 0)[0])
    draws = uniforms(seed, torch.tensor([text.number for text in texts]), 6).tolist()
    expected = [
        continuation(student, text.prompt, draw, method.endings, 2)
        for text, draw in zip(texts, draws, strict=True)
    ]
    assert [text for batch in batches for text in written(batch)] == expected
    assert len({len(text) for text in expected}) > 1

    def value(s: list[float], t: list[float], y: int) -> float:
        return case.formula(s, t, y).real

    pairs = [(text.prompt, found) for text, found in zip(texts, expected, strict=True)]
    loss, _ = loss_and_gradient(method, batches)
    mean = mean_along(value, student, teacher, pairs)
    assert loss.item() == pytest.approx(mean, rel=1e-10)


def test_one_token_counts_where_its_input_is_the_last_of_the_prompt(writers: Writers) -> None:
    texts = writers.asked()
    (batch,) = writers.opened(
        on_policy(writers, sampling=Sampling(1, temperature=0)), writers.batch(texts)
    )
    width = batch.get("decoder_input_ids", batch["input_ids"]).shape[1]
    last = [0 if writers.model.reads_pairs else len(text.prompt) - 1 for text in texts]
    assert batch["rows"].tolist() == [row * width + at for row, at in enumerate(last)]
    assert batch["counts"]["rows"] == len(texts)


def test_nothing_of_the_response_that_is_replaced_counts(
    writers: Writers, loss_and_gradient: LossAndGradient
) -> None:
    """TRL's GKD divides by the length of the response that it throws away."""
    texts = writers.asked()
    long = [replace(text, response=text.response * 4) for text in texts]
    bare = [replace(text, response=[]) for text in texts]
    found = []
    for same in (texts, long, bare):
        method = on_policy(writers)
        (batch,) = writers.opened(method, writers.batch(same))
        found.append((*loss_and_gradient(method, [batch]), batch["counts"]["rows"]))
    for other in found[1:]:
        assert torch.equal(found[0][0], other[0])
        assert torch.equal(found[0][1], other[1])
        assert found[0][2] == other[2]


def test_padding_may_be_an_ending_token(
    writers: Writers, loss_and_gradient: LossAndGradient
) -> None:
    texts, found = writers.asked(), []
    for pad in (0, 3):
        method = on_policy(writers)
        batches = writers.opened(method, writers.batch(texts, extra=3 * (pad > 0), pad=pad))
        found.append((written(batches[0]), *loss_and_gradient(method, batches)))
    assert found[0][0] == found[1][0]
    torch.testing.assert_close(found[0][1:], found[1][1:], rtol=1e-9, atol=1e-13)


def test_the_ending_token_counts(writers: Writers) -> None:
    method = on_policy(writers, sampling=Sampling(9, temperature=2))
    (batch,) = writers.opened(method, writers.batch(writers.asked(20)))
    texts = written(batch)
    ended = [text[-1] in method.endings for text in texts]
    assert 0 < sum(ended) == batch["counts"]["ended"] < len(texts)
    assert all(len(text) == 9 for text, end in zip(texts, ended, strict=True) if not end)
    assert not [text for text in texts if set(text[:-1]) & set(method.endings)]
    if not writers.model.reads_pairs:  # what is read: prompt and text, nothing after it
        lengths = batch["attention_mask"].sum(1).tolist()
        prompts = batch["prompt_mask"].sum(1).tolist()
        assert lengths == [p + len(text) for p, text in zip(prompts, texts, strict=True)]


@pytest.mark.parametrize("alpha_hard", [0.0, 0.3])
def test_on_the_data_it_is_supervised_kd(
    writers: Writers, alpha_hard: float, loss_and_gradient: LossAndGradient
) -> None:
    batch = writers.batch(writers.asked())
    knobs = {"alpha_kd": 0.7, "alpha_hard": alpha_hard, "teacher": writers.spec}
    ours = writers.built(GKD(ForwardKL(2.0), student_share=0.0, **knobs))
    theirs = writers.built(SupervisedKD(ForwardKL(2.0), **knobs))
    found = []
    for method in (ours, theirs):
        found.append(loss_and_gradient(method, writers.opened(method, batch)))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_windows_have_the_authors_that_the_shares_say(decoders: Writers) -> None:
    method = on_policy(decoders, student_share=0.3, teacher_share=0.5)
    counts = Counter(method.author_of(update) for update in range(400))
    assert counts["student"] / 400 == pytest.approx(0.3, abs=0.08)
    assert counts["teacher"] / 400 == pytest.approx(0.5, abs=0.08)
    assert [method.author_of(n) for n in range(50)] != [
        on_policy(decoders, student_share=0.3, teacher_share=0.5, seed=1).author_of(n)
        for n in range(50)
    ]


def test_all_ranks_have_one_author(decoders: Writers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else they would wait for each other: the terms, and with them what is summed, differ."""
    method = on_policy(decoders, student_share=0.5)
    authors = [method.author_of(update) for update in range(50)]
    monkeypatch.setattr(GKD, "global_rank", 1, raising=False)
    assert [method.author_of(update) for update in range(50)] == authors


def test_nobody_learns_hard_targets_from_himself(decoders: Writers) -> None:
    batch = decoders.batch(decoders.asked())
    for knobs, terms in (
        ({"student_share": 1.0}, {"kd"}),
        ({"student_share": 0.0}, {"kd", "hard"}),
        ({"student_share": 0.0, "teacher_share": 1.0}, {"kd", "hard"}),
    ):
        method = on_policy(decoders, alpha_hard=1.0, **knobs)
        (opened,) = decoders.opened(method, batch)
        assert set(method.losses(opened, AccumulationWindow.single(opened))) == terms
        assert (opened is batch) == (method.author == "data")


def test_the_teacher_writes_what_the_teacher_would(
    writers: Writers, logits_by: Callable[..., Any]
) -> None:
    method = on_policy(
        writers, student_share=0.0, teacher_share=1.0, sampling=Sampling(5, temperature=0)
    )
    texts = writers.asked()
    (batch,) = writers.opened(method, writers.batch(texts))
    teacher = logits_by(method.teacher)
    for text, found in zip(texts, written(batch), strict=True):
        for place, token in enumerate(found):
            logits = teacher(text.prompt, found[:place])
            assert logits[token] == max(logits)


def test_unlabelled_prompts_have_no_rows_and_written_ones_do(writers: Writers) -> None:
    texts = [*writers.asked(2), Asked(7, [9, 8, 7])]
    data = writers.batch(texts)
    assert data["labelled"].tolist() == [1, 1, 0]
    (batch,) = writers.opened(on_policy(writers), data)
    assert all(written(batch))
    assert batch["labelled"].tolist() == [1, 1, 1]


def test_unlabelled_prompts_of_the_datas_windows_are_answered_by_the_student(
    writers: Writers, loss_and_gradient: LossAndGradient
) -> None:
    """Responses stay, the rest is what the student would write; only responses are hard targets."""
    texts = writers.asked()
    mixed = [texts[0], replace(texts[1], response=[]), replace(texts[2], response=[]), texts[3]]
    alone = on_policy(writers)
    (every,) = writers.opened(alone, writers.batch(texts))
    method = on_policy(writers, student_share=0.0, alpha_kd=0.0, alpha_hard=1.0)
    method.partly_labelled = True
    (batch,) = writers.opened(method, writers.batch(mixed))
    expected = [texts[0].response, *written(every)[1:3], texts[3].response]
    hidden = [[t if n in (0, 3) else IGNORED for t in text] for n, text in enumerate(expected)]
    assert written(batch) == hidden
    same = [replace(text, response=found) for text, found in zip(texts, expected, strict=True)]
    given = writers.batch(same)
    assert torch.equal(read_ids(batch), read_ids(given))
    assert torch.equal(batch["rows"], given["rows"])
    assert batch["labelled"].tolist() == [1, 0, 0, 1]
    assert batch["counts"]["rows"] == sum(map(len, expected))
    assert batch["counts"]["written"] == 2
    assert batch["counts"]["written_tokens"] == sum(map(len, expected[1:3]))
    hard, _ = loss_and_gradient(method, [batch])
    gold = [len(text) for text in (texts[0].response, texts[3].response)]
    own = writers.built(SupervisedKD(teacher=writers.spec, alpha_kd=0.0, alpha_hard=1.0))
    loss, _ = loss_and_gradient(own, [writers.batch([texts[0], texts[3]])])
    share = sum(gold) / sum(map(len, expected))
    assert hard.item() == pytest.approx(loss.item() * share, rel=1e-12)


def test_a_micro_batch_may_have_nothing_to_be_written(writers: Writers) -> None:
    texts = writers.asked()
    method = on_policy(writers, student_share=0.0)
    method.partly_labelled = True
    whole = writers.batch(texts[:2])
    first, _ = writers.opened(method, whole, writers.batch([replace(texts[2], response=[])]))
    assert written(first) == [text.response for text in texts[:2]]
    assert torch.equal(first["input_ids"], whole["input_ids"])
    (only,) = writers.opened(method, whole)
    assert only["counts"]["written"] == 0


@pytest.mark.parametrize("reuse", [1, 2])
def test_a_written_window_is_used_as_often_as_asked(
    decoders: Writers, reuse: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, found = on_policy(decoders, reuse=reuse), []
    for update in range(4):
        monkeypatch.setattr(GKD, "global_step", update)
        (batch,) = decoders.opened(method, decoders.batch(decoders.asked(8, seed=update)))
        found.append((batch["input_ids"].tolist(), batch["rows"].tolist()))
    assert (found[0] == found[1]) == (found[2] == found[3]) == (reuse == 2)
    assert found[1] != found[2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"student_share": 0.7, "teacher_share": 0.4}, "together they are at most 1"),
        ({"student_share": -0.1}, r"in \[0, 1\]"),
        ({"reuse": 0}, "reuse is 0"),
    ],
)
def test_knobs_that_cannot_work_are_refused(
    decoders: Writers, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        GKD(teacher=decoders.spec, **wrong)


def test_data_without_prompts_is_refused(decoders: Writers) -> None:
    batch = decoders.batch(decoders.asked())
    bare = Batch(**{k: v for k, v in batch.items() if not k.startswith("prompt")})
    with pytest.raises(UserError, match=r"the data has none: use a data module of prompts"):
        decoders.opened(on_policy(decoders), bare)
