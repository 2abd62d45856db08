"""The words of the languages that get pieces, and held-out texts of all languages of a corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rich.console import Console
from rich.progress import track

from data_modules import Corpus
from data_modules.reading.sources import LanguageTexts
from data_modules.storing.tokenising import Split, texts_of_split
from data_modules.text.markers import engine
from lit_distill.errors import UserError
from lit_distill.models.vocabularies.growing.finding import words_of


@dataclass(frozen=True)
class Read:
    """What a corpus holds.

    Attributes:
        texts: training texts of each language that gets pieces.
        words: of all of them together, with their number of times.
        held_out: some validation texts of every language, those that get pieces first.
    """

    texts: dict[str, int]
    words: Counter[str]
    held_out: dict[str, list[str]]


def read(data: Corpus, wanted: Sequence[LanguageTexts], tokenizer: Any, most: int) -> Read:
    """Reads all training texts of some languages, and validation texts of all.

    Args:
        data: the corpus; its `holdout` says how many texts are for validation.
        wanted: languages that get pieces.
        tokenizer: a fast one; control tokens that texts quote are text.
        most: held-out texts of each language.

    Raises:
        UserError: a language that gets pieces has no text to learn from or to hold out, or one
            cannot be read.
    """
    backend = engine(tokenizer)
    texts, words = dict[str, int](), Counter[str]()
    for one in track(wanted, "Reading", transient=True, console=Console(stderr=True)):
        counted = Counter[str]()
        numbered = enumerate(_texts(data, one, "train"), start=1)
        for number, text in numbered:
            texts[one.language] = number
            counted.update(words_of(backend, [text]))
        words += counted
    grown = [one.language for one in wanted]
    others = [one for one in data.texts() if one.language not in grown]
    held_out = {
        one.language: list(islice(_texts(data, one, "validation"), most))
        for one in (*wanted, *others)
    }
    for language in grown:
        there = {"to learn from": texts.get(language), "held out": held_out[language]}
        if lacking := [name for name, found in there.items() if not found]:
            raise UserError(
                f"{language} has no text {lacking[0]} (one in {data.holdout} is held out, or "
                "`validation` of its source is): give more text, or leave the language out."
            )
    return Read(texts, words, {language: own for language, own in held_out.items() if own})


def _texts(data: Corpus, language: LanguageTexts, split: Split) -> Iterator[str]:
    found = map(str, texts_of_split(split, language, data.settings, data.max_broken))
    return (text for text in found if text.strip())
