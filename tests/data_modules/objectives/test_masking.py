"""Masks: exact counts, distributions against oracles, independence of the batch."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest

from data_modules.objectives.masking import Masker, Texts, greedy_words

SIZE = 50
MASKABLE = np.arange(SIZE) >= 5


def masker(counts=None, seed=0, smoothing=0.0, **changes):
    settings = {
        "probability": 0.15,
        "mask_share": 0.8,
        "random_share": 0.1,
        "per_text": True,
        "mask_id": 4,
        "maskable": MASKABLE,
        "slowness": np.maximum(counts, 1) ** smoothing if smoothing else None,
        "starts": None,
        **changes,
    }
    return Masker(**settings, seed=seed)


def flat(rows, windows=None, passes=None):
    lengths = np.array([len(row) for row in rows])
    windows = np.arange(len(rows)) if windows is None else np.asarray(windows)
    passes = np.zeros(len(rows), dtype=np.int64) if passes is None else np.asarray(passes)
    return Texts.joined(np.concatenate(rows).astype(np.int32), lengths, windows, passes)


def framed(body):
    return [2, *body, 3]


def random_texts(count, seed=0, longest=60):
    draw = np.random.default_rng(seed)
    return [
        framed(draw.integers(5, SIZE, size).tolist()) for size in draw.integers(1, longest, count)
    ]


def per_row(texts, selection):
    return np.bincount(texts.row[selection.rows], minlength=len(texts.lengths))


# -- counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.7])
@pytest.mark.parametrize("probability", [0.07, 0.15, 0.4, 1.0])
def test_exact_count_in_every_text(probability, smoothing):
    rows = random_texts(200)
    texts = flat(rows)
    selection = masker(np.arange(1, SIZE + 1), smoothing=smoothing, probability=probability)(texts)
    wanted = [min(math.ceil(round(probability * len(row), 9)), len(row) - 2) for row in rows]
    assert per_row(texts, selection).tolist() == wanted
    assert selection.masked == len(selection.rows) == sum(wanted)
    assert (np.diff(selection.rows) > 0).all()
    assert (texts.ids[selection.rows] >= 5).all()
    np.testing.assert_array_equal(selection.targets, texts.ids[selection.rows])


def test_exact_count_where_the_product_is_not_exact():
    assert 0.07 * 100 > 7
    texts = flat([framed([7] * 98)])
    assert len(masker(probability=0.07)(texts).rows) == 7


def test_exact_count_over_the_batch():
    texts = flat(random_texts(50))
    selection = masker(per_text=False)(texts)
    assert len(selection.rows) == math.ceil(0.15 * len(texts.ids))
    alone = masker()(texts)
    assert (per_row(texts, selection) != per_row(texts, alone)).any()


@pytest.mark.parametrize("per_text", [True, False])
@pytest.mark.parametrize("starts", [None, MASKABLE])
def test_texts_of_special_tokens_have_no_targets(per_text, starts):
    selection = masker(per_text=per_text, starts=starts)(flat([[2, 3], [2, 1, 1, 3]]))
    assert len(selection.rows) == len(selection.targets) == selection.masked == 0


def test_only_targets_change():
    texts = flat(random_texts(100))
    before = texts.ids.copy()
    selection = masker()(texts)
    np.testing.assert_array_equal(texts.ids, before)
    others = np.setdiff1d(np.arange(len(texts.ids)), selection.rows)
    np.testing.assert_array_equal(selection.ids[others], before[others])


def test_shares_of_mask_random_and_kept():
    texts = flat([framed([7] * 1000)] * 40, windows=np.arange(40))
    selection = masker(probability=0.5)(texts)
    fed = selection.ids[selection.rows]
    drawn = np.bincount(fed, minlength=SIZE) / len(fed)
    # random tokens are uniform over the whole vocabulary, mask token and the token itself included
    np.testing.assert_allclose(drawn[4], 0.8 + 0.1 / SIZE, atol=0.01)
    np.testing.assert_allclose(drawn[7], 0.1 + 0.1 / SIZE, atol=0.008)
    others = np.delete(drawn, [4, 7])
    np.testing.assert_allclose(others, 0.1 / SIZE, atol=0.0015)


def test_given_shares():
    texts = flat(random_texts(50))
    hidden = masker(mask_share=1.0, random_share=0.0)(texts)
    assert (hidden.ids[hidden.rows] == 4).all()
    kept = masker(mask_share=0.0, random_share=0.0)(texts)
    np.testing.assert_array_equal(kept.ids, texts.ids)


# -- distributions --------------------------------------------------------------------------------


def subset_probabilities(weights, k):
    """Probability of every k-subset when drawn one by one without replacement."""
    result = {}
    for order in permutations(range(len(weights)), k):
        left, probability = sum(weights), 1.0
        for index in order:
            probability *= weights[index] / left
            left -= weights[index]
        subset = tuple(sorted(order))
        result[subset] = result.get(subset, 0.0) + probability
    return result


def chi_square(subsets, expected):
    drawn = dict.fromkeys(expected, 0)
    for subset in subsets:
        drawn[subset] += 1
    total = sum(drawn.values())
    return sum((drawn[s] - total * p) ** 2 / (total * p) for s, p in expected.items())


def test_gumbel_top_k_is_drawing_without_replacement():
    counts = np.ones(SIZE)
    counts[5:10] = [1, 3, 10, 30, 100]
    expected = subset_probabilities([c**-0.7 for c in counts[5:10]], k=2)
    texts = flat([framed([5, 6, 7, 8, 9])] * 20_000)
    ours = masker(counts, smoothing=0.7, probability=2 / 7)(texts)
    chosen = texts.column[ours.rows].reshape(-1, 2) - 1
    limit = 27.9  # chi-square, 9 degrees of freedom, 99.9 %
    assert chi_square(map(tuple, chosen.tolist()), expected) < limit
    numpys = np.random.default_rng(0)
    weights = counts[5:10] ** -0.7
    choices = [numpys.choice(5, 2, replace=False, p=weights / weights.sum()) for _ in range(4000)]
    assert chi_square((tuple(sorted(c.tolist())) for c in choices), expected) < limit
    uniform = masker(probability=2 / 7)(texts)  # the test can fail
    chosen = texts.column[uniform.rows].reshape(-1, 2) - 1
    assert chi_square(map(tuple, chosen.tolist()), expected) > 100 * limit
    even = dict.fromkeys(expected, 1 / 10)
    assert chi_square(map(tuple, chosen.tolist()), even) < limit


def test_odds_of_the_first_draw_under_smoothing():
    counts = np.ones(SIZE)
    counts[6] = 10_000
    rows = [framed([5] + [6] * 631)] * 4000
    texts = flat(rows)
    selection = masker(counts, smoothing=0.7, probability=1 / 634)(texts)
    assert len(selection.rows) == 4000
    rare = (selection.targets == 5).mean()
    odds = 631 * rare / (1 - rare)
    assert odds == pytest.approx(10_000**0.7, rel=0.12)  # 631 : 1


def test_special_tokens_have_no_weight_under_smoothing():
    counts = np.full(SIZE, 1e6)
    counts[:5] = 0
    texts = flat(random_texts(100))
    selection = masker(counts, smoothing=0.7)(texts)
    assert (texts.ids[selection.rows] >= 5).all()


# -- determinism ----------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"smoothing": 0.7}, {"starts": np.arange(SIZE) % 3 > 0}])
def test_masks_do_not_depend_on_the_batch(settings):
    rows = random_texts(40)
    windows, passes = np.arange(100, 140), np.arange(40) % 3
    counts = np.arange(1.0, SIZE + 1)
    mask = masker(counts, **settings)
    texts = flat(rows, windows, passes)
    together = mask(texts)
    order = np.random.default_rng(1).permutation(40)
    for chunk in np.array_split(order, 7):
        part = flat([rows[i] for i in chunk], windows[chunk], passes[chunk])
        selection = mask(part)
        for place, index in enumerate(chunk):
            np.testing.assert_array_equal(
                selection.ids[part.row == place], together.ids[texts.row == index]
            )
            np.testing.assert_array_equal(
                part.column[selection.rows[part.row[selection.rows] == place]],
                texts.column[together.rows[texts.row[together.rows] == index]],
            )


@pytest.mark.parametrize("change", [{"seed": 1}, {"passes": [1]}, {"windows": [1]}])
def test_masks_depend_on_seed_pass_and_window(change):
    row = framed([7] * 200)
    given = {"seed": 0, "windows": [0], "passes": [0]}
    drawn = []
    for settings in (given, {**given, **change}):
        texts = flat([row], settings["windows"], settings["passes"])
        drawn.append(masker(seed=settings["seed"])(texts).rows)
    assert len(np.intersect1d(*drawn)) < 15  # of 31; about 4.6 expected by chance


def greedy(sizes, wanted):
    """The rule, word by word."""
    taken, left = [0], wanted - sizes[0]
    for index, size in enumerate(sizes[1:], start=1):
        if size <= left:
            taken.append(index)
            left -= size
    return taken


def test_whole_words_are_taken_greedily_in_drawn_order():
    draw = np.random.default_rng(0)
    groups = [draw.integers(1, 9, draw.integers(1, 30)) for _ in range(200)]
    wanted = draw.integers(1, 20, 200)
    group = np.repeat(np.arange(200), [len(sizes) for sizes in groups])
    ours = np.sort(greedy_words(np.concatenate(groups), group, wanted))
    expected, start = [], 0
    for sizes, limit in zip(groups, wanted, strict=True):
        expected += [start + index for index in greedy(sizes.tolist(), limit)]
        start += len(sizes)
    assert ours.tolist() == expected
