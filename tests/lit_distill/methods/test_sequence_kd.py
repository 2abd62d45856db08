"""SequenceKD against loops over single texts, its filters, and beside GKD."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from loss_cases import CASES
from oracles.on_policy import mean_along

from lit_distill.errors import UserError
from lit_distill.methods import GKD, SequenceKD, SupervisedKD
from lit_distill.models import Generated, Sampling, TextFilter
from lit_distill.models.generation.text_filter import repetition

ALL = TextFilter(ended=False, max_repetition=1.0)
SHORT = Sampling(6, temperature=2)
Writers = Any  # of conftest.py
LossAndGradient = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def sequence_kd(writers: Writers, keep: TextFilter = ALL, **knobs: Any) -> SequenceKD:
    knobs = {"sampling": SHORT, **knobs}
    return writers.built(SequenceKD(keep=keep, teacher=writers.spec, **knobs))


def test_it_is_the_formula_along_greedy_text_of_the_teacher(
    writers: Writers, logits_by: Callable[..., Any], loss_and_gradient: LossAndGradient
) -> None:
    method, texts = sequence_kd(writers, sampling=Sampling(5, temperature=0)), writers.asked()
    opened = writers.opened(method, writers.batch(texts))
    student, teacher = logits_by(method.student), logits_by(method.teacher)
    pairs = []
    for text in texts:
        found: list[int] = []
        while len(found) < 5 and not set(found) & set(method.endings):
            logits = teacher(text.prompt, found)
            found.append(logits.index(max(logits)))
        pairs.append((text.prompt, found))

    def value(s: list[float], t: list[float], y: int) -> float:
        return CASES["ce"].formula(s, t, y).real

    expected = mean_along(value, student, teacher, pairs)
    assert loss_and_gradient(method, opened)[0].item() == pytest.approx(expected, rel=1e-10)


def test_it_is_gkd_where_the_teacher_writes(
    writers: Writers, loss_and_gradient: LossAndGradient
) -> None:
    shares = {"student_share": 0.0, "teacher_share": 1.0, "alpha_kd": 0.0, "alpha_hard": 1.0}
    gkd = GKD(sampling=SHORT, teacher=writers.spec, **shares)
    found = []
    for method in (sequence_kd(writers), writers.built(gkd)):
        opened = writers.opened(method, writers.batch(writers.asked()))
        found.append(loss_and_gradient(method, opened))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-15)


def test_on_gold_it_is_plain_fine_tuning(
    writers: Writers, loss_and_gradient: LossAndGradient
) -> None:
    plain = SupervisedKD(alpha_kd=0.0, alpha_hard=1.0, teacher=writers.spec)
    found = []
    for method in (sequence_kd(writers, gold_share=1.0), writers.built(plain)):
        opened = writers.opened(method, writers.batch(writers.asked()))
        found.append(loss_and_gradient(method, opened))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-15)


def test_in_windows_of_gold_the_teacher_answers_what_has_no_gold(
    writers: Writers, loss_and_gradient: LossAndGradient
) -> None:
    """The mean over gold and written tokens is that over both windows, by their numbers."""
    texts = writers.asked(8)
    bare = [replace(text, response=[]) for text in texts[3:]]
    sums, rows = torch.zeros(()).double(), 0
    for share, part in ((1.0, texts[:3]), (0.0, bare)):
        method = sequence_kd(writers, TextFilter(max_repetition=1), gold_share=share)
        (batch,) = writers.opened(method, writers.batch(part))
        sums += loss_and_gradient(method, [batch])[0] * len(batch["rows"])
        rows += len(batch["rows"])
    mixed = sequence_kd(writers, TextFilter(max_repetition=1), gold_share=1.0)
    mixed.partly_labelled = True
    (batch,) = writers.opened(mixed, writers.batch([*texts[:3], *bare]))
    assert len(batch["rows"]) == rows
    assert 0 < batch["counts"]["ended"] < batch["counts"]["written"] == len(bare)
    loss, _ = loss_and_gradient(mixed, [batch])
    assert loss.item() == pytest.approx((sums / rows).item(), rel=1e-12)


def test_dropped_texts_do_not_count(writers: Writers) -> None:
    texts = writers.asked(12)
    (batch,) = writers.opened(sequence_kd(writers), writers.batch(texts))
    (kept,) = writers.opened(
        sequence_kd(writers, TextFilter(max_repetition=1)), writers.batch(texts)
    )
    width = batch.get("decoder_input_ids", batch["input_ids"]).shape[1]
    whole, part = (set((b["rows"] // width).tolist()) for b in (batch, kept))
    assert len(whole) == 12
    assert 0 < len(part) < 12
    assert kept["counts"]["rows"] == len(kept["rows"]) == len(kept["targets"])
    assert len(part) == kept["counts"]["ended"]


def test_the_filter_reads_tokens() -> None:
    tokens = torch.tensor([[5, 6, 7, 8, 9, 2], [5, 5, 5, 5, 5, 5], [5, 2, 0, 0, 0, 0]])
    written = Generated(tokens, torch.tensor([6, 6, 2]), torch.tensor([True, False, True]))
    prompts = torch.tensor([3, 3, 4])
    for keep, expected in (
        (ALL, [True, True, True]),
        (TextFilter(), [True, False, True]),
        (TextFilter(ended=False), [True, False, True]),
        (TextFilter(ended=True, max_repetition=1), [True, False, True]),
        (TextFilter(min_ratio=0.6), [True, False, False]),
        (TextFilter(max_ratio=1.5), [False, False, True]),
    ):
        assert keep(prompts, written).tolist() == expected
    assert repetition([1, 2, 3]) == 0
    assert repetition([5] * 6) == pytest.approx(2 / 3)


def fit(writers: Writers, sampling: Sampling, keep: TextFilter, steps: int, texts: int) -> None:
    """Trains on the same window again and again, as a Trainer does."""
    method = sequence_kd(writers, keep, sampling=sampling)
    batch = writers.batch(writers.asked(texts))
    method._trainer = SimpleNamespace(  # type: ignore[assignment]
        accumulate_grad_batches=1, world_size=1, global_step=steps, max_steps=9,
        max_epochs=-1, estimated_stepping_batches=9,
    )  # fmt: skip
    method.updates.total_steps, method.endings = 9, ()  # nothing ends
    for _ in range(steps):
        method.open_window(batch)
    method.on_train_end()


@pytest.mark.parametrize(("steps", "texts", "first"), [(99, 16, 64), (3, 4, 12), (2, 32, 64)])
def test_a_teacher_of_whom_nothing_is_kept_ends_the_training(
    decoders: Writers, steps: int, texts: int, first: int
) -> None:
    short = Sampling(1, temperature=2)
    endless = rf"dropped all of the first {first} texts .*\.max_new_tokens = 1: raise it, or set"
    with pytest.raises(UserError, match=endless):
        fit(decoders, short, TextFilter(), steps, texts)
    with pytest.raises(
        UserError, match=rf"all of the first {first} texts .*; loosen model\.keep\."
    ):
        fit(decoders, short, TextFilter(ended=False, min_ratio=1e6), steps, texts)
    fit(decoders, short, ALL, min(steps, 3), texts)


def test_one_update_without_a_text_is_a_trial(decoders: Writers) -> None:
    fit(decoders, Sampling(1, temperature=2), TextFilter(ended=False, min_ratio=1e6), 1, 4)


def test_knobs_that_cannot_work_are_refused(decoders: Writers) -> None:
    with pytest.raises(UserError, match="gold_share is 2"):
        SequenceKD(gold_share=2, teacher=decoders.spec)
    with pytest.raises(UserError, match=r"keep.min_ratio is 2.*no text"):
        TextFilter(min_ratio=2, max_ratio=1)
