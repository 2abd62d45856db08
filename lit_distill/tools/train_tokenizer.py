"""Trains a tokenizer on a corpus, with temperature over its languages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from callbacks.atomic_files import replacing
from data_modules import Corpus, MultilingualCorpus, Sampler, Source
from data_modules.sources import LanguageTexts
from data_modules.tokenising import training_texts
from lit_distill.errors import UserError
from lit_distill.tools.vocabularies import BERT, ROBERTA, Kind, trained

REPORTED_TEXTS = 1000
"""How many texts of each language are cut for the report."""


def train_tokenizer(
    output: str,
    data: Corpus | None = None,
    kind: Kind = "wordpiece",
    vocab_size: int = 32000,
    sampler: Sampler | None = None,
    lowercase: bool = False,
    min_frequency: int = 2,
    alphabet: int | None = None,
    max_characters: int = 1_000_000_000,
    max_length: int = 512,
    files: dict[str, list[str]] | None = None,
) -> PreTrainedTokenizerFast:
    """Trains a tokenizer and saves it as a folder that `AutoTokenizer` loads.

    It reads the training texts only: what the corpus holds out stays unseen. The same texts and
    settings give the same tokenizer.

    Args:
        output: the folder; replaced if it exists.
        data: the corpus; take it from a file with `--config configs/data/....yaml`.
        kind: "wordpiece" with BERT's special tokens and template, "unigram" and "byte-bpe" with
            RoBERTa's.
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

    Raises:
        UserError: a source cannot be read, there is no text, or the vocabulary is too small.
    """
    if (data is None) == (not files):
        raise UserError(
            "Give either a corpus (--config configs/data/....yaml) or --files.LANGUAGE."
        )
    if data is None:
        data = MultilingualCorpus(
            [Source(tag, files=paths) for tag, paths in (files or {}).items()]
        )
    repeats = _repeats(data, sampler or data.sampler, max_characters)
    corpus: Corpus = data
    tokenizer = trained(
        kind, lambda: _all(corpus, repeats), vocab_size, lowercase, min_frequency, alphabet
    )
    wrapped = _wrapped(tokenizer, kind, max_length)
    with replacing(Path(output)) as beside:
        wrapped.save_pretrained(beside)
    less = "" if len(wrapped) == vocab_size else f" of the {vocab_size:,} asked for"
    Console().print(f"{kind}: {len(wrapped):,} tokens{less}, in {output}", highlight=False)
    _report(data, repeats, wrapped)
    return wrapped


def _repeats(data: Corpus, sampler: Sampler, most: int = 1_000_000_000) -> list[float]:
    """How often each language is read, in the sampler's proportions.

    The language that is sampled least, compared with its size, is read once; all of them less often
    where that would be more than `most` characters.
    """
    texts = data.texts()
    sizes = {language.language: sum(map(len, _texts(data, language))) for language in texts}
    if empty := [language for language, size in sizes.items() if not size]:
        raise UserError(f"No training text for {', '.join(empty)}.")
    shares = sampler.shares(sizes, {language.language: language.weight for language in texts})
    often = [share / size for share, size in zip(shares.tolist(), sizes.values(), strict=True)]
    once = min(value for value in often if value > 0)  # a weight of 0 leaves a language out
    total = sum(value / once * size for value, size in zip(often, sizes.values(), strict=True))
    return [value / once * min(1.0, most / total) for value in often]


def _all(data: Corpus, repeats: list[float]) -> Iterator[str]:
    """Every text of every language, `repeats` times; a fraction is spread over the texts."""
    for language, often in zip(data.texts(), repeats, strict=True):
        due = 0.0
        for text in _texts(data, language):
            due += often
            for _ in range(int(due)):
                yield text
            due -= int(due)


def _texts(data: Corpus, language: LanguageTexts) -> Iterator[str]:
    return training_texts(language, data.settings, data.max_broken)


def _wrapped(tokenizer: Tokenizer, kind: Kind, max_length: int) -> PreTrainedTokenizerFast:
    """With special tokens around texts and their roles known, as BERT or RoBERTa have them."""
    special = BERT if kind == "wordpiece" else ROBERTA
    cls, sep = special["cls"], special["sep"]
    second = f"$B:1 {sep}:1" if kind == "wordpiece" else f"{sep} $B {sep}"
    tokenizer.post_processor = TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} {second}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)],
    )
    roles: dict[str, Any] = {f"{role}_token": token for role, token in special.items()}
    if kind != "wordpiece":
        roles |= {"bos_token": cls, "eos_token": sep}
        roles["model_input_names"] = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **roles)


def _report(data: Corpus, repeats: list[float], tokenizer: PreTrainedTokenizerFast) -> None:
    """Prints how finely each language is cut; short pieces make a language costly and hard."""
    table = Table(title="The first training texts of each language", title_justify="left")
    table.add_column("language")
    for heading in ("read", "characters per token", "tokens per word", "unknown"):
        table.add_column(heading, justify="right")
    for language, often in zip(data.texts(), repeats, strict=True):
        some = list(islice(_texts(data, language), REPORTED_TEXTS))
        ids = [i for part in tokenizer(some, add_special_tokens=False)["input_ids"] for i in part]
        count = max(len(ids), 1)
        table.add_row(
            language.language,
            f"{often:.2f} x",
            f"{sum(map(len, some)) / count:.2f}",
            f"{count / max(sum(len(text.split()) for text in some), 1):.2f}",
            f"{ids.count(tokenizer.unk_token_id) / count:.2%}",
        )
    Console().print(table)
