"""The order of batches: pure, complete, within the budget, in the right shares."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from data_modules.feeding.plan import EvaluationPlan, LanguageStream, Plan, cuts, even_cuts
from lit_distill.errors import UserError


def corpus(sizes, means, seed=0):
    draw = np.random.default_rng(seed)
    lengths = np.concatenate(
        [
            np.clip(draw.lognormal(np.log(mean), 0.6, size), 3, 128)
            for size, mean in zip(sizes, means, strict=True)
        ]
    ).astype(np.int32)
    return lengths, np.repeat(np.arange(len(sizes)), sizes)


def small_plan(seed=0, **changes):
    lengths, language = corpus([50, 20, 3], [10, 20, 30])
    settings = {"shares": np.array([0.3, 0.3, 0.4]), "budget": 256, "pool_size": 32, **changes}
    return Plan(lengths, language, seed=seed, **settings)


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_batches_are_a_function_of_seed_and_position():
    forward = small_plan()
    batches = [forward.batch(position) for position in range(60)]
    backward = small_plan()
    assert all(same(backward.batch(p), batches[p]) for p in reversed(range(60)))
    other = small_plan(seed=1)
    assert not all(same(other.batch(p), batches[p]) for p in range(60))


def test_jump_needs_no_earlier_pools():
    forward, jumped = small_plan(), small_plan()
    expected = [forward.batch(position) for position in range(100)]
    pool, start = forward.locate(80)
    assert pool > 3
    jumped.jump(pool, start)
    assert all(same(jumped.batch(p), expected[p]) for p in range(start, 100))
    assert same(jumped.batch(2), expected[2])  # and back again


def test_every_pass_has_every_window_once():
    plan = small_plan()
    _, language = corpus([50, 20, 3], [10, 20, 30])
    seen = defaultdict(Counter)
    for position in range(400):
        for window, number in zip(*plan.batch(position), strict=True):
            seen[language[window], number][window] += 1
    for of_language, size in enumerate([50, 20, 3]):
        last = max(number for group, number in seen if group == of_language)
        assert last >= 3
        for number in range(last - 3):  # the latest passes are under way
            assert set(seen[of_language, number].values()) == {1}
            assert len(seen[of_language, number]) == size


def test_passes_have_their_own_orders():
    stream = LanguageStream(np.arange(100, 164), seed=3, language=0)
    first, _ = stream.take(0, 64)
    second, _ = stream.take(64, 128)
    assert sorted(first) == sorted(second) == list(range(100, 164))
    assert not np.array_equal(first, second)
    other, _ = LanguageStream(np.arange(100, 164), seed=3, language=1).take(0, 64)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("cut", [1, 7, 64, 65, 200])
def test_a_stream_does_not_depend_on_how_it_is_taken(cut):
    whole = LanguageStream(np.arange(64), seed=3, language=0).take(0, 300)
    stream = LanguageStream(np.arange(64), seed=3, language=0)
    parts = [stream.take(a, min(a + cut, 300)) for a in range(0, 300, cut)]
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    assert same(joined, whole)


def test_shares_of_tokens_hold_within_one_percent():
    lengths, language = corpus([3000, 300, 40], [12, 30, 60])
    shares = np.array([0.2, 0.5, 0.3])
    plan = Plan(lengths, language, shares, budget=2048, pool_size=500)
    tokens = np.zeros(3)
    position = 0
    while tokens.sum() < 400_000:
        windows, _ = plan.batch(position)
        tokens += np.bincount(language[windows], lengths[windows], minlength=3)
        position += 1
    np.testing.assert_allclose(tokens / tokens.sum(), shares, rtol=0.01)


def test_a_language_without_share_is_left_out():
    plan = small_plan(shares=np.array([0.5, 0.0, 0.5]))
    windows = np.concatenate([plan.batch(position)[0] for position in range(50)])
    assert not ((windows >= 50) & (windows < 70)).any()


def test_batches_keep_the_budget():
    lengths, _ = corpus([50, 20, 3], [10, 20, 30])
    plan = small_plan()
    for position in range(200):
        windows, _ = plan.batch(position)
        assert len(windows) > 0
        assert len(windows) * lengths[windows].max() <= 256


def test_padding_is_under_five_percent_on_log_normal_lengths():
    draw = np.random.default_rng(0)
    lengths = np.clip(draw.lognormal(np.log(40) - 0.32, 0.8, 20_000).round(), 3, 512)
    lengths = lengths.astype(np.int32)
    plan = Plan(lengths, np.zeros(20_000, dtype=np.int64), np.ones(1), budget=4096)
    batches = [lengths[plan.batch(position)[0]] for position in range(400)]
    positions = sum(len(batch) * batch.max() for batch in batches)
    assert 1 - sum(batch.sum() for batch in batches) / positions < 0.05


def test_lengths_are_mixed_over_time():
    lengths, _ = corpus([50, 20, 3], [10, 20, 30])
    plan = small_plan(pool_size=73)
    longest = [lengths[plan.batch(position)[0]].max() for position in range(10)]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))


@pytest.mark.parametrize("pool_size", [1, 2, 40, 1000])
def test_tiny_corpus(pool_size):
    lengths, language = np.array([4, 5, 6], dtype=np.int32), np.array([0, 0, 1])
    plan = Plan(lengths, language, np.array([0.5, 0.5]), budget=12, pool_size=pool_size)
    windows = np.concatenate([plan.batch(position)[0] for position in range(3000)])
    tokens = np.bincount(language[windows], lengths[windows])
    np.testing.assert_allclose(tokens / tokens.sum(), [0.5, 0.5], rtol=0.02)


def test_no_batch_is_a_small_remainder():
    lengths = np.sort(np.random.default_rng(1).integers(5, 60, 500))[::-1]
    plain, even = cuts(lengths.tolist(), 1024), even_cuts(lengths, 1024)
    sizes = [lengths[a:b].max() * (b - a) for a, b in pairwise(even)]
    assert len(plain) == len(even)
    assert even[0] == 0
    assert even[-1] == 500
    assert max(sizes) <= 1024
    assert min(sizes) > 0.85 * max(sizes)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([5, 300], "longest window has 300 tokens and a batch holds at most 256"),
        ([5, 0], "without tokens"),
        ([], "no text"),
    ],
)
def test_impossible_corpora(lengths, message):
    lengths = np.array(lengths, dtype=np.int32)
    with pytest.raises(UserError, match=message):
        Plan(lengths, np.zeros(len(lengths), dtype=np.int64), np.ones(1), budget=256)
    with pytest.raises(UserError, match=message):
        EvaluationPlan(np.arange(len(lengths)), lengths, budget=256)


def test_share_without_text():
    lengths, language = np.array([5, 5], dtype=np.int32), np.array([0, 0])
    with pytest.raises(UserError, match=r"\[1\] have a share and no text"):
        Plan(lengths, language, np.array([0.5, 0.5]), budget=256)


def test_identity_names_what_changes_the_order():
    identities = [
        small_plan().identity(),
        small_plan(seed=1).identity(),
        small_plan(budget=300).identity(),
        small_plan(pool_size=33).identity(),
        small_plan(shares=np.array([0.2, 0.4, 0.4])).identity(),
    ]
    assert len({tuple(identity.items()) for identity in identities}) == 5
    assert small_plan().identity() == identities[0]


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_evaluation_sees_every_window_once(ranks):
    lengths, _ = corpus([90], [20])
    windows = np.arange(1000, 1090)
    plan = EvaluationPlan(windows, lengths, budget=256, ranks=ranks)
    assert len(plan) % ranks == 0
    assert sorted(np.concatenate(plan.batches)) == windows.tolist()
    longest = [lengths[batch - 1000].max() for batch in plan.batches]
    assert longest == sorted(longest, reverse=True)
    for batch, width in zip(plan.batches, longest, strict=True):
        assert len(batch) > 0
        assert len(batch) * width <= 256


def test_fewer_windows_than_ranks():
    with pytest.raises(UserError, match="2 windows cannot be evaluated on 3 devices"):
        EvaluationPlan(np.arange(2), np.array([5, 6]), budget=256, ranks=3)
