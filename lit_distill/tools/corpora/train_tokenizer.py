"""Trains a tokenizer on a corpus, with temperature over its languages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from data_modules import Corpus, Sampler
from data_modules.storing.tokenising import texts_of_split
from lit_distill.errors import UserError
from lit_distill.files.atomic_files import replacing
from lit_distill.files.output_folders import check_output, mark
from lit_distill.knobs import Count, check_knobs
from lit_distill.tools.corpora.cutting_table import cutting_table
from lit_distill.tools.corpora.given_corpus import given_corpus
from lit_distill.tools.corpora.vocabularies import BERT, ROBERTA, Kind, trained

KIND = "tokenizer"
REPORTED_TEXTS = 1000
"""How many texts of each language are cut for the report."""
KEPT_CHARACTERS = 100_000_000
"""How much text is held in memory; of more, the rest is read again each time."""


def train_tokenizer(
    output: str,
    data: Corpus | None = None,
    kind: Kind = "wordpiece",
    vocab_size: Count = 32000,
    sampler: Sampler | None = None,
    lowercase: bool = False,
    min_frequency: Count = 2,
    alphabet: Count | None = None,
    max_characters: Count = 1_000_000_000,
    max_length: Count = 512,
    files: dict[str, list[str]] | None = None,
    add_eos: bool | None = None,
) -> PreTrainedTokenizerFast:
    """Trains a tokenizer on training texts and saves it as a folder that `AutoTokenizer` loads.

    The same texts and settings give the same tokenizer.

    Args:
        output: the folder; an earlier tokenizer of this command is replaced, and nothing else.
        data: the corpus; take it from a file with `--config configs/data/....yaml`.
        kind: "wordpiece" with BERT's special tokens, "unigram" and "byte-bpe" with RoBERTa's.
        vocab_size: most tokens, special ones included.
        sampler: how often each language's text is read, by characters; the corpus's own by default.
            The smaller languages are repeated, the larger ones not cut.
        lowercase: fold case (accents stay).
        min_frequency: how often a pair must occur to be merged (not for "unigram").
        alphabet: keep so many of the most frequent characters (only for "wordpiece"; all others
            become unknown). By default all.
        max_characters: read at most so many; of more, an even sample of the texts.
        max_length: recorded as the tokenizer's own limit.
        files: instead of a corpus, files or globs by language: `--files.de='["de/*.txt"]'`.
        add_eos: put the ending token behind every text, as encoders and encoder-decoders read it; a
            decoder's prompts would end. By default not for "byte-bpe" (RoBERTa wants it there too).

    Raises:
        UserError: a source cannot be read, there is no text, or the vocabulary is too small.
    """
    check_knobs(train_tokenizer, locals())
    check_output(Path(output), kind=KIND)
    corpus = given_corpus(data, files)
    languages = _read(corpus)
    repeats = _repeats(languages, sampler or corpus.sampler, max_characters)
    texts = partial(_all, languages, repeats)
    model = trained(kind, texts, vocab_size, lowercase, min_frequency, alphabet)
    wrapped = _wrapped(model, kind, max_length, add_eos)
    _save(wrapped, Path(output))
    less = f" of the {vocab_size:,} asked for" * (len(wrapped) != vocab_size)
    _report(f"{kind}: {len(wrapped):,} tokens{less}, in {output}", languages, repeats, wrapped)
    return wrapped


def _save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    with replacing(folder) as beside:
        tokenizer.save_pretrained(beside)
        mark(beside, KIND)


@dataclass(frozen=True)
class Language:
    """The training texts of one language.

    Attributes:
        tag: of the language or mix.
        weight: its factor in the sampler.
        size: characters.
        texts: gives all texts, each time it is called.
    """

    tag: str
    weight: float
    size: int
    texts: Callable[[], Iterator[str]]


def _read(data: Corpus) -> list[Language]:
    """Counts characters; small corpora stay in memory, for they are gone through several times."""
    languages, room = [], KEPT_CHARACTERS
    for language in data.texts():
        texts = partial(texts_of_split, "train", language, data.settings, data.max_broken)
        kept, size = [], 0
        for text in texts():
            size += len(text)
            if size <= room:
                kept.append(text)
        if size <= room:
            room -= size
            texts = partial(iter, kept)
        if not size:
            raise UserError(f"No training text for {language.language}.")
        languages.append(Language(language.language, language.weight, size, texts))
    return languages


def _repeats(
    languages: Sequence[Language], sampler: Sampler, most: int = 1_000_000_000
) -> list[float]:
    """How often each language is read, in the sampler's proportions.

    The language that is sampled least, compared with its size, is read once; all of them less often
    where that would be more than `most` characters.
    """
    sizes = {language.tag: language.size for language in languages}
    shares = sampler.shares(sizes, {language.tag: language.weight for language in languages})
    often = [share / size for share, size in zip(shares.tolist(), sizes.values(), strict=True)]
    once = min(value for value in often if value > 0)  # a weight of 0 leaves a language out
    total = sum(value / once * size for value, size in zip(often, sizes.values(), strict=True))
    return [value / once * min(1.0, most / total) for value in often]


def _all(languages: Sequence[Language], repeats: Sequence[float]) -> Iterator[str]:
    """Every text of every language, `repeats` times; a fraction is spread over the texts."""
    for language, often in zip(languages, repeats, strict=True):
        due = 0.0
        for text in language.texts():
            due += often
            for _ in range(int(due)):
                yield text
            due -= int(due)


def _wrapped(
    tokenizer: Tokenizer, kind: Kind, max_length: int, add_eos: bool | None
) -> PreTrainedTokenizerFast:
    """With special tokens around texts and their roles known, as BERT or RoBERTa have them."""
    special = BERT if kind == "wordpiece" else ROBERTA
    cls, sep = special["cls"], special["sep"]
    ended = kind != "byte-bpe" if add_eos is None else add_eos
    behind = f" {sep}" if ended else ""
    second = f"$B:1{behind and f'{behind}:1'}" if kind == "wordpiece" else f"{sep} $B{behind}"
    tokenizer.post_processor = TemplateProcessing(
        single=f"{cls} $A{behind}",
        pair=f"{cls} $A {sep} {second}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)],
    )
    roles: dict[str, Any] = {f"{role}_token": token for role, token in special.items()}
    names = ["input_ids", "token_type_ids", "attention_mask"]
    if kind != "wordpiece":
        roles |= {"bos_token": cls, "eos_token": sep}
        names.remove("token_type_ids")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_length, model_input_names=names, **roles
    )


def _report(
    heading: str,
    languages: Sequence[Language],
    repeats: Sequence[float],
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    print(heading)
    some = {one.tag: list(islice(one.texts(), REPORTED_TEXTS)) for one in languages}
    often = dict(zip(some, repeats, strict=True))
    Console().print(cutting_table(tokenizer, some, often))
