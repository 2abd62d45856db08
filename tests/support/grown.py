"""Tokenizers of English that cut Bangla to bits, of the three kinds that can grow."""

from __future__ import annotations

import random
from functools import cache

from cut_vocabularies import BERT, SPECIAL, WORDS, lines
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from data_modules.text.markers import engine
from lit_distill.models.vocabularies.growing.finding import find_pieces, words_of
from lit_distill.models.vocabularies.growing.new_piece import Growth
from lit_distill.models.vocabularies.growing.tokenizer_growing import grow_tokenizer

KINDS = ("WordPiece", "Unigram", "BPE")
BANGLA = lines("bn", 200)
OTHERS = [line for language in ("en", "hi") for line in lines(language, 100)]
OTHERS += ["", " ", "  two  spaces ", "naïve 北京 🙂", "<s> quoted </s> [MASK]", "া", "ab\tc\n"]
_CHARACTERS = sorted({character for word in WORDS["bn"].split() for character in word})


def mixed(count: int = 300) -> list[str]:
    """Lines in which English words, Bangla words and pieces of either are side by side."""
    draw, found = random.Random(3), []
    words = [word for language in ("en", "bn") for word in WORDS[language].split()]
    for _ in range(count):
        pick = draw.choices(words, k=draw.randint(1, 6))
        found.append(" ".join(word[draw.randint(0, 2) :] for word in pick))
    return found


def _wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=BERT, show_progress=False)
    tokenizer.train_from_iterator(lines("en"), trainer)
    pieces = [*sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)]
    pieces += [mark + character for mark in ("", "##") for character in _CHARACTERS]
    numbers = {piece: number for number, piece in enumerate(pieces)}
    tokenizer.model = models.WordPiece(numbers, unk_token="[UNK]")
    tokenizer.decoder = decoders.WordPiece()
    ends = ((token, tokenizer.token_to_id(token)) for token in ("[SEP]", "[CLS]"))
    tokenizer.post_processor = processors.BertProcessing(*ends)
    return tokenizer


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=140, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False,
        initial_alphabet=_CHARACTERS,
    )  # fmt: skip
    tokenizer.train_from_iterator([*lines("en"), *_CHARACTERS * 2], trainer)
    return tokenizer


def _byte_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(lines("en"), trainer)
    return tokenizer


@cache
def _backend(kind: str) -> str:
    tokenizer = {"WordPiece": _wordpiece, "Unigram": _unigram, "BPE": _byte_bpe}[kind]()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])  # behind the vocabulary
    text: str = tokenizer.to_str()
    return text


def english(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer of a kind, with the roles of special tokens and two control tokens behind."""
    roles = dict(zip(("cls", "pad", "sep", "unk", "mask"), SPECIAL, strict=True))
    if kind == "WordPiece":
        roles = dict(zip(("pad", "unk", "cls", "sep", "mask"), BERT, strict=True))
    named = {f"{role}_token": token for role, token in roles.items()}
    backend = Tokenizer.from_str(_backend(kind))
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64, **named)


@cache
def growth_of(kind: str, most: int = 12) -> Growth:
    """Pieces for Bangla."""
    old = english(kind)
    backend = engine(old)
    return find_pieces(backend, old.get_vocab(), words_of(backend, BANGLA), most)


def grown(kind: str, most: int = 12) -> PreTrainedTokenizerFast:
    """The tokenizer with them."""
    return grow_tokenizer(english(kind), growth_of(kind, most))
