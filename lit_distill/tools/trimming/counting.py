"""How often each language's texts hold each piece, and texts that are held out to look at later.

Shapes: W ids of the tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from data_modules import Corpus
from data_modules.reading.sources import LanguageTexts
from data_modules.storing.tokenising import Split, texts_of_split
from data_modules.text.markers import engine
from lit_distill.errors import UserError

_TEXTS_AT_ONCE = 1000


@dataclass(frozen=True)
class Counts:
    """What one language's texts hold.

    Attributes:
        language: its tag.
        texts: how many are long enough to count.
        holding: how many of them hold each piece (W,).
        times: how often each occurs in them (W,).
    """

    language: str
    texts: int
    holding: NDArray[np.int64]
    times: NDArray[np.int64]


@dataclass(frozen=True)
class Language:
    """One language of the corpus.

    Attributes:
        counts: over its training texts.
        held_out: some of its validation texts, which were not counted.
    """

    counts: Counts
    held_out: list[str]


def wanted(data: Corpus, languages: Sequence[str] | None) -> list[LanguageTexts]:
    """The languages of a corpus that are asked for, or all.

    Raises:
        UserError: it has no such language, or one is asked for twice.
    """
    texts = {one.language: one for one in data.texts()}
    names = list(texts) if languages is None else languages
    if unknown := [name for name in names if name not in texts]:
        raise UserError(
            f"The corpus has no texts in {', '.join(unknown)}: its languages are "
            f"{', '.join(texts)}."
        )
    if not names or len({*names}) < len(names):
        raise UserError("Name the languages to keep, each once (--languages), or leave it out.")
    return [texts[name] for name in names]


def read(
    data: Corpus, languages: Sequence[LanguageTexts], tokenizer: Any, longer_than: int, most: int
) -> list[Language]:
    """Reads all training texts of each language, and some validation texts.

    Args:
        data: the corpus; its `holdout` says how many texts are for validation.
        languages: to read.
        tokenizer: a fast one; special tokens are not added, and texts that quote them hold none.
        longer_than: texts of more characters are counted.
        most: held-out texts of each language.

    Raises:
        UserError: a language has no text to count or to hold out, or cannot be read.
    """
    bar = track(languages, "Counting", transient=True, console=Console(stderr=True))
    return [_language(data, one, tokenizer, longer_than, most) for one in bar]


def _language(
    data: Corpus, texts: LanguageTexts, tokenizer: Any, longer_than: int, most: int
) -> Language:
    def of(split: Split) -> Iterator[str]:
        return map(str, texts_of_split(split, texts, data.settings, data.max_broken))

    size, backend = max(tokenizer.get_vocab().values()) + 1, engine(tokenizer)
    holding, times = (np.zeros(size, dtype=np.int64) for _ in range(2))
    count, long_enough = 0, (text for text in of("train") if len(text) > longer_than)
    while part := list(islice(long_enough, _TEXTS_AT_ONCE)):
        count += len(part)
        cut = backend.encode_batch_fast(part, add_special_tokens=False)
        times += _occurrences((number for one in cut for number in one.ids), size)
        holding += _occurrences((number for one in cut for number in {*one.ids}), size)
    held_out = list(islice((text for text in of("validation") if text.strip()), most))
    for name, there in (("to count", count), ("held out", len(held_out))):
        if not there:
            raise UserError(
                f"{texts.language} has no text {name} (texts of more than {longer_than} characters "
                f"are counted; one in {data.holdout} is held out, or `validation` of its source "
                "is): give more text, or leave the language out."
            )
    return Language(Counts(texts.language, count, holding, times), held_out)


def _occurrences(ids: Iterable[int], size: int) -> NDArray[np.int64]:
    """How often each id (W,) is among some."""
    return np.bincount(np.fromiter(ids, np.int64), minlength=size).astype(np.int64)
