"""Trains a tokenizer on a corpus, with temperature over its languages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from rich.console import Console
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE, Unigram, WordPiece
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

import data_modules as data_modules  # makes bare class names of data modules resolve
from data_modules import Corpus, Sampler
from data_modules.tokenising import training_texts
from lit_distill.errors import UserError

Kind = Literal["wordpiece", "unigram", "byte-bpe"]
BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ROBERTA = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}


def train_tokenizer(
    output: str,
    data: Corpus,
    kind: Kind = "wordpiece",
    vocab_size: int = 32000,
    sampler: Sampler | None = None,
    lowercase: bool = False,
    min_frequency: int = 2,
    max_length: int = 512,
) -> PreTrainedTokenizerFast:
    """Trains a tokenizer and saves it as a folder that `AutoTokenizer` loads.

    It reads the training texts only. "byte-bpe" gives the same tokenizer every time; the library
    breaks ties of the other two in the order of a randomised hash, so that a few of their rarest
    pieces may differ: keep the folder.

    Args:
        output: the folder to write.
        data: the corpus; take it from a file with `--config configs/data/....yaml`.
        kind: "wordpiece" with BERT's special tokens and template, "unigram" and "byte-bpe" with
            RoBERTa's.
        vocab_size: most tokens, special ones included.
        sampler: how often each language's text is read, by characters; the corpus's own by default.
            The smaller languages are repeated, the larger ones never cut.
        lowercase: fold case (accents stay).
        min_frequency: rarest piece that is kept (not for "unigram").
        max_length: recorded as the tokenizer's own limit.

    Raises:
        UserError: a source cannot be read, or there is no text.
    """
    special = BERT if kind == "wordpiece" else ROBERTA
    tokenizer, trainer = _untrained(kind, special, vocab_size, lowercase, min_frequency)
    tokenizer.train_from_iterator(_all(data, _repeats(data, sampler or data.sampler)), trainer)
    tokenizer.post_processor = _template(tokenizer, kind, special)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        **{f"{role}_token": token for role, token in special.items()},
    )
    wrapped.save_pretrained(output)
    reached = len(wrapped)
    Console(stderr=True).print(
        f"{kind} tokenizer with {reached} tokens in {output}"
        + ("" if reached == vocab_size else f" (the text has no more than that of {vocab_size})")
    )
    return wrapped


def _untrained(
    kind: Kind, special: dict[str, str], vocab_size: int, lowercase: bool, min_frequency: int
) -> tuple[Tokenizer, Any]:
    """An empty tokenizer and its trainer. Text is put into NFC, except for bytes."""
    tokens = [AddedToken(t, special=True, lstrip=t == "<mask>") for t in special.values()]
    steps: list[Any] = [normalizers.NFC()] + [normalizers.Lowercase()] * lowercase
    common: dict[str, Any] = {
        "vocab_size": vocab_size,
        "special_tokens": tokens,
        "show_progress": True,
    }
    if kind == "wordpiece":
        tokenizer = Tokenizer(WordPiece(unk_token=special["unk"]))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        # CJK characters are cut apart and control characters dropped; accents are kept
        steps = [normalizers.BertNormalizer(strip_accents=False, lowercase=lowercase), *steps[:1]]
        trainer: Any = trainers.WordPieceTrainer(min_frequency=min_frequency, **common)
    elif kind == "unigram":
        tokenizer = Tokenizer(Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(unk_token=special["unk"], **common)
    else:
        tokenizer = Tokenizer(BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            min_frequency=min_frequency, initial_alphabet=alphabet, **common
        )
    tokenizer.normalizer = normalizers.Sequence(steps)
    return tokenizer, trainer


def _template(tokenizer: Tokenizer, kind: Kind, special: dict[str, str]) -> TemplateProcessing:
    """Where the special tokens stand around one text and around two."""
    cls, sep = special["cls"], special["sep"]
    bert = f"{cls} $A {sep} $B:1 {sep}:1"
    return TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=bert if kind == "wordpiece" else f"{cls} $A {sep} {sep} $B {sep}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)],
    )


def _repeats(data: Corpus, sampler: Sampler) -> list[float]:
    """How often each language is read: at least once, in the sampler's proportions."""
    texts = data.texts()
    sizes = {
        language.language: sum(map(len, training_texts(language, data.settings, data.max_broken)))
        for language in texts
    }
    empty = [language for language, size in sizes.items() if not size]
    if empty:
        raise UserError(f"No training text for {', '.join(empty)}.")
    shares = sampler.shares(sizes, {language.language: language.weight for language in texts})
    often = [share / size for share, size in zip(shares, sizes.values(), strict=True)]
    return [value / min(often) for value in often]


def _all(data: Corpus, repeats: list[float]) -> Iterator[str]:
    """Every text of every language, `repeats` times; a fraction is spread over the texts."""
    for language, often in zip(data.texts(), repeats, strict=True):
        due = 0.0
        for text in training_texts(language, data.settings, data.max_broken):
            due += often
            for _ in range(int(due)):
                yield text
            due -= int(due)
