"""What trained vocabularies keep of every script: joiners, and words without spaces."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from data_modules.text.lost_letters import CLUTTER
from lit_distill.tools.corpora.vocabularies import Kind, trained

JOINED = [
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: I want
    "\u0646\u0627\u0645\u0647\u200c\u0627\u06cc",  # a letter
    "\u09b0\u200d\u09cd\u09af\u09be\u09ac",  # Bangla ya-phala behind ra
    "\u0d28\u0d4d\u200d",  # Malayalam chillu n
    "\u0d9a\u0dca\u200d\u0dc2",  # Sinhala
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # a family
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # England
]
"""Words that without their invisible characters are another word (the last one: a black flag)."""
INVISIBLE = dict.fromkeys([0x200C, 0x200D, *range(0xE0060, 0xE0080)])
PLAIN = [word.translate(INVISIBLE) for word in JOINED]
OTHERS = [("resume", "r\u00e9sum\u00e9"), ("\u0915\u093f", "\u0915\u0940"), ("ss", "\u00df")]
PAIRS = [*zip(JOINED, PLAIN, strict=True), *OTHERS]
LONG = ["\u0e01\u0e34\u0e19\u0e02\u0e49\u0e32\u0e27" * 40, "\u179f\u17d2\u179a\u17b8" * 60]
"""Thai and Khmer without a space, 280 and 240 characters."""
KINDS: list[Kind] = ["wordpiece", "unigram", "byte-bpe"]


def made(kind: Kind, lowercase: bool = False) -> Tokenizer:
    texts = [word for pair in PAIRS for word in pair] * 5 + LONG
    return trained(kind, lambda: iter(texts), 700, lowercase, 1, None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lowercase", [False, True])
def test_different_words_have_different_ids(kind: Kind, lowercase: bool) -> None:
    tokenizer = made(kind, lowercase)
    same = [tokenizer.encode(one).ids == tokenizer.encode(other).ids for one, other in PAIRS]
    assert sum(same) == 0  # of ten; joiners were taken for clutter once


@pytest.mark.parametrize("kind", KINDS)
def test_long_runs_are_known(kind: Kind) -> None:
    tokenizer = made(kind)
    unknown = tokenizer.token_to_id("[UNK]" if kind == "wordpiece" else "<unk>")
    for text in (*LONG, LONG[0] * 30):
        ids = tokenizer.encode(text).ids
        assert unknown not in ids
        assert tokenizer.decode(ids).replace(" ", "") == text


def test_no_sign_is_cut_off_its_letter() -> None:
    starts = [start for start, _ in made("wordpiece").encode(LONG[1]).offsets]
    assert {LONG[1][start] for start in starts} <= {"\u179f", "\u17d2", "\u179a", "\u17b8"}
    pieces = made("wordpiece").pre_tokenizer.pre_tokenize_str(LONG[1])
    assert len(pieces) == 3  # of at most 100 characters
    assert all(piece[0] in "\u179f\u179a" for piece, _ in pieces)


def test_clutter_goes_and_words_part_where_they_may() -> None:
    tokenizer = made("wordpiece")
    assert tokenizer.normalizer.normalize_str("a\x00b\u00adc\ufeff\u202ed\te") == "abcd\te"
    word = JOINED[0]
    assert tokenizer.normalizer.normalize_str(f"{word}\u200b{word}") == f"{word} {word}"
    assert "\u200c" not in CLUTTER
