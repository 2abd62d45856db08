"""Targets: exact counts, distributions against oracles, whole words for three tokenizers."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from data_modules.masking import Texts, greedy_words
from data_modules.objectives import MaskedTokens, NextToken, Plain
from data_modules.word_starts import word_starts
from lit_distill.errors import UserError

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROLES = dict(
    zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIALS, strict=True)
)
SIZE = 50


def fast(core, **changes):
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, **{**ROLES, **changes})


@pytest.fixture(scope="module")
def letters():
    """A WordPiece tokenizer of `SIZE` tokens."""
    names = [*SPECIALS, *(f"t{number}" for number in range(5, SIZE))]
    core = Tokenizer(models.WordPiece({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    return fast(core)


def flat(rows, windows=None, passes=None):
    lengths = np.array([len(row) for row in rows])
    return Texts(
        ids=np.concatenate([np.asarray(row) for row in rows]).astype(np.int32),
        lengths=lengths,
        row=np.repeat(np.arange(len(rows)), lengths),
        column=np.concatenate([np.arange(length) for length in lengths]),
        windows=np.arange(len(rows)) if windows is None else np.asarray(windows),
        passes=np.zeros(len(rows), dtype=np.int64) if passes is None else np.asarray(passes),
    )


def framed(body):
    return [2, *body, 3]


def random_texts(count, seed=0, longest=60):
    draw = np.random.default_rng(seed)
    return [
        framed(draw.integers(5, SIZE, size).tolist()) for size in draw.integers(1, longest, count)
    ]


def masker(letters, counts=None, seed=0, **settings):
    counts = np.ones(SIZE) if counts is None else counts
    return MaskedTokens(**settings).bind(letters, counts, seed)


def per_row(texts, selection):
    return np.bincount(texts.row[selection.rows], minlength=len(texts.lengths))


# -- counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.7])
@pytest.mark.parametrize("probability", [0.07, 0.15, 0.4, 1.0])
def test_exact_count_in_every_text(letters, probability, smoothing):
    rows = random_texts(200)
    texts = flat(rows)
    selection = masker(letters, probability=probability, smoothing=smoothing)(texts)
    wanted = [min(math.ceil(round(probability * len(row), 9)), len(row) - 2) for row in rows]
    assert per_row(texts, selection).tolist() == wanted
    assert selection.masked == len(selection.rows) == sum(wanted)
    assert (np.diff(selection.rows) > 0).all()
    assert (texts.ids[selection.rows] >= 5).all()
    np.testing.assert_array_equal(selection.targets, texts.ids[selection.rows])


def test_exact_count_where_the_product_is_not_exact(letters):
    assert 0.07 * 100 > 7
    texts = flat([framed([7] * 98)])
    assert len(masker(letters, probability=0.07)(texts).rows) == 7


def test_exact_count_over_the_batch(letters):
    texts = flat(random_texts(50))
    selection = masker(letters, scope="batch")(texts)
    assert len(selection.rows) == math.ceil(0.15 * len(texts.ids))
    alone = masker(letters)(texts)
    assert (per_row(texts, selection) != per_row(texts, alone)).any()


@pytest.mark.parametrize("scope", ["sample", "batch"])
@pytest.mark.parametrize("whole_word", [False, True])
def test_texts_of_special_tokens_have_no_targets(letters, scope, whole_word):
    selection = masker(letters, scope=scope, whole_word=whole_word)(flat([[2, 3], [2, 1, 1, 3]]))
    assert len(selection.rows) == len(selection.targets) == selection.masked == 0


def test_only_targets_change(letters):
    texts = flat(random_texts(100))
    before = texts.ids.copy()
    selection = masker(letters)(texts)
    np.testing.assert_array_equal(texts.ids, before)
    others = np.setdiff1d(np.arange(len(texts.ids)), selection.rows)
    np.testing.assert_array_equal(selection.ids[others], before[others])


def test_shares_of_mask_random_and_kept(letters):
    texts = flat([framed([7] * 1000)] * 40, windows=np.arange(40))
    selection = masker(letters, probability=0.5)(texts)
    fed = selection.ids[selection.rows]
    drawn = np.bincount(fed, minlength=SIZE) / len(fed)
    # random tokens are uniform over the whole vocabulary, mask token and the token itself included
    np.testing.assert_allclose(drawn[4], 0.8 + 0.1 / SIZE, atol=0.01)
    np.testing.assert_allclose(drawn[7], 0.1 + 0.1 / SIZE, atol=0.008)
    others = np.delete(drawn, [4, 7])
    np.testing.assert_allclose(others, 0.1 / SIZE, atol=0.0015)


def test_given_shares(letters):
    texts = flat(random_texts(50))
    hidden = masker(letters, mask_share=1.0, random_share=0.0)(texts)
    assert (hidden.ids[hidden.rows] == 4).all()
    kept = masker(letters, mask_share=0.0, random_share=0.0)(texts)
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


def test_gumbel_top_k_is_drawing_without_replacement(letters):
    counts = np.ones(SIZE)
    counts[5:10] = [1, 3, 10, 30, 100]
    expected = subset_probabilities([c**-0.7 for c in counts[5:10]], k=2)
    texts = flat([framed([5, 6, 7, 8, 9])] * 20_000)
    ours = masker(letters, counts, smoothing=0.7, probability=2 / 7)(texts)
    chosen = texts.column[ours.rows].reshape(-1, 2) - 1
    limit = 27.9  # chi-square, 9 degrees of freedom, 99.9 %
    assert chi_square(map(tuple, chosen.tolist()), expected) < limit
    numpys = np.random.default_rng(0)
    weights = counts[5:10] ** -0.7
    choices = [numpys.choice(5, 2, replace=False, p=weights / weights.sum()) for _ in range(4000)]
    assert chi_square((tuple(sorted(c.tolist())) for c in choices), expected) < limit
    uniform = masker(letters, probability=2 / 7)(texts)  # the test can fail
    chosen = texts.column[uniform.rows].reshape(-1, 2) - 1
    assert chi_square(map(tuple, chosen.tolist()), expected) > 100 * limit
    even = dict.fromkeys(expected, 1 / 10)
    assert chi_square(map(tuple, chosen.tolist()), even) < limit


def test_odds_of_the_first_draw_under_smoothing(letters):
    counts = np.ones(SIZE)
    counts[6] = 10_000
    rows = [framed([5] + [6] * 631)] * 4000
    texts = flat(rows)
    selection = masker(letters, counts, smoothing=0.7, probability=1 / 634)(texts)
    assert len(selection.rows) == 4000
    rare = (selection.targets == 5).mean()
    odds = 631 * rare / (1 - rare)
    assert odds == pytest.approx(10_000**0.7, rel=0.12)  # 631 : 1


def test_special_tokens_have_no_weight_under_smoothing(letters):
    counts = np.full(SIZE, 1e6)
    counts[:5] = 0
    texts = flat(random_texts(100))
    selection = masker(letters, counts, smoothing=0.7)(texts)
    assert (texts.ids[selection.rows] >= 5).all()


# -- determinism ----------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"smoothing": 0.7}, {"whole_word": True}])
def test_masks_do_not_depend_on_the_batch(letters, settings):
    rows = random_texts(40)
    windows, passes = np.arange(100, 140), np.arange(40) % 3
    counts = np.arange(1.0, SIZE + 1)
    mask = masker(letters, counts, **settings)
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
def test_masks_depend_on_seed_pass_and_window(letters, change):
    row = framed([7] * 200)
    given = {"seed": 0, "windows": [0], "passes": [0]}
    drawn = []
    for settings in (given, {**given, **change}):
        texts = flat([row], settings["windows"], settings["passes"])
        drawn.append(masker(letters, seed=settings["seed"])(texts).rows)
    assert len(np.intersect1d(*drawn)) < 15  # of 31; about 4.6 expected by chance


def test_validation_is_the_same_for_all_settings(letters):
    settings = [MaskedTokens(), MaskedTokens(probability=0.4, smoothing=0.7, whole_word=True)]
    assert {objective.validation(letters) for objective in settings} == {MaskedTokens()}
    assert Plain().validation(letters) == MaskedTokens()
    assert NextToken().validation(letters) == NextToken()


def test_validation_of_plain_text_without_a_mask_token(letters):
    core = Tokenizer(models.WordPiece(letters.get_vocab(), unk_token="[UNK]"))
    causal = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]")
    assert Plain().validation(causal) == NextToken()
    with pytest.raises(UserError, match="mask token and this one has none"):
        MaskedTokens().bind(causal, np.ones(SIZE), 0)


# -- the other objectives -------------------------------------------------------------------------


def test_next_token_stays_inside_its_text():
    texts = flat([[2, 10, 11, 3], [2, 3], [2], [2, 12, 3]])
    selection = NextToken().bind(None, np.ones(SIZE), 0)(texts)
    pairs = list(zip(texts.ids[selection.rows].tolist(), selection.targets.tolist(), strict=True))
    assert pairs == [(2, 10), (10, 11), (11, 3), (2, 3), (2, 12), (12, 3)]
    np.testing.assert_array_equal(selection.ids, texts.ids)
    assert selection.masked == 0


def test_plain_text_has_no_targets():
    texts = flat([[2, 10, 11, 3]])
    selection = Plain().bind(None, np.ones(SIZE), 0)(texts)
    np.testing.assert_array_equal(selection.ids, texts.ids)
    assert len(selection.rows) == len(selection.targets) == 0


# -- whole words ----------------------------------------------------------------------------------

WORDS = ["sunlight", "moon", "sunmoon", "light", "moonlightsun", "sun"]
SENTENCES = [" ".join(np.random.default_rng(s).choice(WORDS, 12)) for s in range(30)]
PIECES = ["sun", "moon", "light"]


def word_piece():
    names = [*SPECIALS, *PIECES, *(f"##{piece}" for piece in PIECES)]
    core = Tokenizer(models.WordPiece({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece("##")
    return fast(core)


def unigram():
    pieces = [*(f"▁{piece}" for piece in PIECES), *PIECES, "▁"]
    scores = [*((name, 0.0) for name in SPECIALS), *((piece, -3.0) for piece in pieces)]
    core = Tokenizer(models.Unigram(scores, unk_id=1))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    return fast(core)


def byte_level():
    alphabet = [*sorted(set("sunmolight")), "Ġ"]
    merges = [("s", "u"), ("su", "n"), ("m", "o"), ("mo", "o"), ("moo", "n"), ("l", "i")]
    merges += [("li", "g"), ("lig", "h"), ("ligh", "t"), ("Ġ", "sun"), ("Ġ", "moon")]
    merges += [("Ġ", "light")]
    names = [*SPECIALS, *alphabet, *(a + b for a, b in merges)]
    vocabulary = {name: number for number, name in enumerate(names)}
    core = Tokenizer(models.BPE(vocabulary, merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return fast(core)


def sentence_piece_bpe():
    """The layout of Llama's tokenizer: the mark comes from the normalizer and the decoder."""
    inner = [(p[:end], p[end]) for p in PIECES for end in range(1, len(p))]
    merges = [*inner, *(("▁", piece) for piece in PIECES)]
    names = [*SPECIALS, "▁", *sorted(set("sunmolight")), *(a + b for a, b in merges)]
    core = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, merges))
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    return fast(core)


BUILDERS = [word_piece, unigram, byte_level, sentence_piece_bpe]


def words_of(tokenizer, ids):
    """Word number of each token, from the decoded text alone: -1 at special tokens."""
    special = set(tokenizer.all_special_ids)
    numbers, word, text = [], -1, ""
    for place, token in enumerate(ids):
        if token in special:
            numbers.append(-1)
            continue
        inside = [number for number in ids[1 : place + 1] if number not in special]
        now = tokenizer.decode(inside)
        if " " in now[len(text) :].rstrip() or not text:
            word += 1
        numbers.append(word)
        text = now
    return np.array(numbers)


@pytest.mark.parametrize("build", BUILDERS)
def test_pieces_of_a_word_are_masked_together(build):
    tokenizer = build()
    rows = [tokenizer(sentence)["input_ids"] for sentence in SENTENCES]
    assert not any(tokenizer.unk_token_id in row for row in rows)
    texts = flat(rows)
    mask = MaskedTokens(probability=0.3, whole_word=True).bind(tokenizer, np.ones(200), 0)
    selection = mask(texts)
    longer = 0
    for number, row in enumerate(rows):
        words = words_of(tokenizer, row)
        assert words.max() == 11
        chosen = np.zeros(len(row), dtype=bool)
        chosen[texts.column[selection.rows[texts.row[selection.rows] == number]]] = True
        assert not chosen[words < 0].any()
        for word in range(12):
            pieces = chosen[words == word]
            longer += len(pieces) > 1 and bool(pieces.all())
            assert pieces.all() or not pieces.any()
        wanted = math.ceil(0.3 * len(row))
        assert wanted - 2 <= chosen.sum() <= wanted  # words have up to three pieces
    assert longer > 20


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


def test_a_long_first_word_is_masked_whole():
    tokenizer = word_piece()
    texts = flat([tokenizer("moonlightsun")["input_ids"]])
    selection = MaskedTokens(whole_word=True).bind(tokenizer, np.ones(11), 0)(texts)
    assert selection.rows.tolist() == [1, 2, 3]  # one target wanted


def test_a_window_may_begin_inside_a_word():
    tokenizer = word_piece()
    continued = tokenizer.convert_tokens_to_ids(["##light", "##sun", "moon"])
    texts = flat([framed(continued), framed(continued)])
    for seed in range(20):
        objective = MaskedTokens(probability=0.4, whole_word=True)
        rows = objective.bind(tokenizer, np.ones(11), seed)(texts).rows.tolist()
        assert [r for r in rows if r < 5] in ([1, 2], [3])
        assert [r - 5 for r in rows if r >= 5] in ([1, 2], [3])


@pytest.mark.parametrize("border", ["[UNK]", None])
def test_no_word_goes_over_a_special_token_or_a_text(border):
    tokenizer = word_piece()
    sun, light = tokenizer.convert_tokens_to_ids(["sun", "##light"])
    if border:
        texts = flat([framed([sun, tokenizer.unk_token_id, light])])
    else:
        texts = flat([[sun], [light]])  # as a tokenizer without special tokens gives them
    masks = MaskedTokens(probability=0.1, whole_word=True)
    drawn = [masks.bind(tokenizer, np.ones(11), seed)(texts).rows.tolist() for seed in range(20)]
    expected = [[1], [3]] if border else [[0, 1]]
    assert sorted(map(list, {tuple(rows) for rows in drawn})) == expected


def test_words_weigh_the_average_of_their_pieces():
    tokenizer = word_piece()
    sun, moon, light = tokenizer.convert_tokens_to_ids(["sun", "moon", "##light"])
    counts = np.ones(11)
    counts[[sun, light]] = 4, 16
    texts = flat([framed([sun, light, moon])] * 20_000)
    objective = MaskedTokens(probability=0.2, smoothing=0.5, whole_word=True)
    selection = objective.bind(tokenizer, counts, 0)(texts)
    share = (texts.column[selection.rows] == 1).sum() / 20_000
    weight = (1 / 2 + 1 / 4) / 2
    assert share == pytest.approx(weight / (weight + 1), abs=0.012)


@pytest.mark.parametrize("build", BUILDERS)
def test_word_starts_of_the_vocabulary(build):
    tokenizer = build()
    starts = word_starts(tokenizer)
    names = {word_piece: "moon", unigram: "▁moon", byte_level: "Ġmoon", sentence_piece_bpe: "▁moon"}
    inner = {word_piece: "##moon", unigram: "moon", byte_level: "moon", sentence_piece_bpe: "moon"}
    assert starts[tokenizer.convert_tokens_to_ids(names[build])]
    assert not starts[tokenizer.convert_tokens_to_ids(inner[build])]


def test_tokenizer_without_words():
    core = Tokenizer(models.BPE({name: i for i, name in enumerate([*SPECIALS, "a", "b"])}, []))
    with pytest.raises(UserError, match=r"BPE model without marks: set objective\.whole_word"):
        MaskedTokens(whole_word=True).bind(fast(core), np.ones(7), 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"probability": 0.0},
        {"probability": 1.5},
        {"mask_share": 0.9, "random_share": 0.2},
        {"mask_share": -0.1},
        {"smoothing": -0.7},
        {"smoothing": float("nan")},
    ],
)
def test_impossible_settings(settings):
    with pytest.raises(UserError, match=r"objective\."):
        MaskedTokens(**settings)
