"""Trains the vocabularies of tokenizers, the same in every run.

The trainers of `tokenizers` walk through hash tables whose order changes from process to process.
What depends on that order is put right here: the ids of WordPiece's continuing characters (and with
them which of two equally frequent pairs is merged first), and the scores of Unigram's rare ones.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    normalizers,
    pre_tokenizers,
    trainers,
)
from tokenizers.models import BPE, Unigram, WordPiece

from data_modules.text.lost_letters import BREAK, CLUTTER
from lit_distill.errors import UserError

Kind = Literal["wordpiece", "unigram", "byte-bpe"]
Corpus = Callable[[], Iterator[str]]
BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ROBERTA = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
"""In the order of their ids, which RoBERTa's configs expect."""

CONTINUING = "##"
LONGEST_RUN = 100
"""Characters of the longest word that WordPiece cuts; a longer one is unknown as a whole."""
RUNS = rf".{{1,{LONGEST_RUN}}}(?![\p{{M}}\u200c\u200d])|.{{1,{LONGEST_RUN}}}"
"""Parts of a longer run, as in scripts without spaces, with no sign cut off its letter."""
ALL = 0x110000  # code points of Unicode
WORDS = (
    r"'(?:[sdmt]|ll|ve|re)| ?[\p{L}\p{M}\u200c\u200d]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]+"
    r"|\s+(?!\S)|\s+"
)
"""GPT-2's words, with vowel signs and joiners inside: without \\p{M}, Hindi falls apart at each."""


def trained(
    kind: Kind,
    corpus: Corpus,
    vocab_size: int,
    lowercase: bool,
    min_frequency: int,
    alphabet: int | None,
) -> Tokenizer:
    """A tokenizer without a template of special tokens yet; see `train_tokenizer`.

    Args:
        kind: of vocabulary.
        corpus: gives all texts, each time it is called.
        vocab_size: most tokens.
        lowercase: fold case.
        min_frequency: how often a pair must occur to be merged.
        alphabet: how many characters are kept.

    Raises:
        UserError: the vocabulary is too small for the characters of the text.
    """
    if kind == "wordpiece":
        tokenizer = _wordpiece(corpus, vocab_size, lowercase, min_frequency, alphabet)
    elif kind == "unigram":
        tokenizer = _unigram(corpus, vocab_size, lowercase)
    else:
        tokenizer = _byte_bpe(corpus, vocab_size, lowercase, min_frequency)
    size = tokenizer.get_vocab_size()
    if size > vocab_size:
        raise UserError(
            f"vocab_size {vocab_size:,} is too small: the text's characters alone take {size:,} "
            "tokens. Raise it, lower `alphabet` (wordpiece), or use kind byte-bpe."
        )
    return tokenizer


def _special(tokens: dict[str, str]) -> list[AddedToken]:
    """RoBERTa's mask takes the space before it along, so that it stands for a whole word."""
    return [AddedToken(text, special=True, lstrip=text == "<mask>") for text in tokens.values()]


def _wordpiece(
    corpus: Corpus, vocab_size: int, lowercase: bool, min_frequency: int, alphabet: int | None
) -> Tokenizer:
    """WordPiece as BERT reads it: CJK characters apart; accents and joiners kept.

    A first pass only collects the characters; given to the second one in a fixed order, they make
    its merges the same in every process.
    """

    def train(size: int, first: list[str], kept: list[str]) -> dict[str, int]:
        tokenizer = _empty_wordpiece({}, lowercase)
        trainer = trainers.WordPieceTrainer(
            vocab_size=size,
            min_frequency=min_frequency,
            special_tokens=[*BERT.values(), *first],
            initial_alphabet=kept,
            limit_alphabet=len(kept) or alphabet or ALL,
            continuing_subword_prefix=CONTINUING,
            show_progress=sys.stderr.isatty(),
        )
        tokenizer.train_from_iterator(corpus(), trainer)
        return tokenizer.get_vocab(with_added_tokens=False)

    characters = sorted(train(0, [], []).keys() - set(BERT.values()))
    continuing = [token for token in characters if len(token) > 1]
    kept = [token for token in characters if len(token) == 1]
    vocabulary = train(vocab_size, continuing, kept)
    merged = sorted(vocabulary.keys() - {*BERT.values(), *characters}, key=vocabulary.__getitem__)
    ordered = [*BERT.values(), *kept, *continuing, *merged]
    tokenizer = _empty_wordpiece({token: i for i, token in enumerate(ordered)}, lowercase)
    tokenizer.add_special_tokens(_special(BERT))
    return tokenizer


def _empty_wordpiece(vocabulary: dict[str, int], lowercase: bool) -> Tokenizer:
    model = WordPiece(
        vocabulary,
        unk_token=BERT["unk"],
        continuing_subword_prefix=CONTINUING,
        max_input_chars_per_word=LONGEST_RUN,
    )
    tokenizer = Tokenizer(model)
    # BERT's own cleaning takes every format character for clutter.
    bert = normalizers.BertNormalizer(clean_text=False, strip_accents=False, lowercase=lowercase)
    clean = [
        normalizers.Replace(Regex(f"[{CLUTTER}]"), ""),
        normalizers.Replace(BREAK, " "),
    ]
    tokenizer.normalizer = normalizers.Sequence([*clean, bert, normalizers.NFC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Split(Regex(RUNS), "isolated")]
    )
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUING)
    return tokenizer


def _unigram(corpus: Corpus, vocab_size: int, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(Unigram())
    fold = [normalizers.Lowercase()] if lowercase else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), *fold])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=_special(ROBERTA),
        unk_token=ROBERTA["unk"],
        show_progress=sys.stderr.isatty(),
    )
    try:
        tokenizer.train_from_iterator(corpus(), trainer)
    except Exception as error:  # tokenizers raises nothing more special
        raise UserError(
            f"vocab_size {vocab_size:,} does not work for this text: {error}"
        ) from error
    pieces = json.loads(tokenizer.to_str())["model"]["vocab"]
    number = len(ROBERTA)
    tokenizer.model = Unigram(
        [(piece, score) for piece, score in pieces[:number]] + _settled(pieces[number:]),
        unk_id=list(ROBERTA).index("unk"),
    )
    return tokenizer


def _settled(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Pieces with their log-probabilities, free of the order in which the trainer met them.

    Characters that the trainer had pruned come back with the lowest score and, in random order, 0,
    1, 2 ... times 0.0001 above it. They are put in the order of their code points. All scores are
    rounded, for sums in another order differ in their last digits.
    """
    lowest = min(score for _, score in pieces)
    scores = {piece: round(score, 6) for piece, score in pieces}
    steps = {piece: (score - lowest) / 1e-4 for piece, score in pieces if len(piece) == 1}
    returned = sorted(piece for piece, step in steps.items() if abs(step - round(step)) < 1e-4)
    shuffled = sorted((scores[piece] for piece in returned), reverse=True)
    scores |= dict(zip(returned, shuffled, strict=True))
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def _byte_bpe(corpus: Corpus, vocab_size: int, lowercase: bool, min_frequency: int) -> Tokenizer:
    tokenizer = Tokenizer(BPE())
    fold = [normalizers.Lowercase()] if lowercase else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *fold])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=_special(ROBERTA),
        show_progress=sys.stderr.isatty(),
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer
