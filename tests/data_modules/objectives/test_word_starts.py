"""Whole words for the conventions of four kinds of tokenizers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from data_modules.objectives.masking import Texts
from data_modules.objectives.objectives import MaskedTokens
from data_modules.objectives.word_starts import word_starts
from lit_distill.errors import UserError

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROLES = dict(
    zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIALS, strict=True)
)


def fast(core, **changes):
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, **{**ROLES, **changes})


def flat(rows, windows=None, passes=None):
    lengths = np.array([len(row) for row in rows])
    windows = np.arange(len(rows)) if windows is None else np.asarray(windows)
    passes = np.zeros(len(rows), dtype=np.int64) if passes is None else np.asarray(passes)
    return Texts.joined(np.concatenate(rows).astype(np.int32), lengths, windows, passes)


def framed(body):
    return [2, *body, 3]


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


def test_no_word_goes_over_a_special_token():
    tokenizer = word_piece()
    sun, light = tokenizer.convert_tokens_to_ids(["sun", "##light"])
    texts = flat([framed([sun, tokenizer.unk_token_id, light])])
    masks = MaskedTokens(probability=0.1, whole_word=True)
    drawn = {tuple(masks.bind(tokenizer, np.ones(11), s)(texts).rows) for s in range(20)}
    assert drawn == {(1,), (3,)}


def test_no_word_goes_over_the_end_of_a_text():
    tokenizer = word_piece()
    sun, moon, light = tokenizer.convert_tokens_to_ids(["sun", "moon", "##light"])
    texts = flat([[sun, moon], [light, moon]])  # as a tokenizer without special tokens gives them
    masks = MaskedTokens(probability=0.5, whole_word=True)
    for seed in range(20):
        rows = masks.bind(tokenizer, np.ones(11), seed)(texts).rows
        assert texts.row[rows].tolist() == [0, 1]


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
