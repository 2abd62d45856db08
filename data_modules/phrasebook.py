"""The embedded default data, written by us: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, ClassVar

from data_modules.corpus import Corpus
from data_modules.phrasebook_text.grammar import MIXES
from data_modules.phrasebook_text.sentences import SPOKEN, Phrasebook, Split, check_language
from data_modules.phrasebook_text.sentences import Sentence as Sentence
from data_modules.reading.readers import Broken, Reader
from data_modules.reading.sources import LanguageTexts
from data_modules.reading.tagged_text import located
from lit_distill.knobs import Count, Seed, check_knobs

GENERATOR = 1
"""Part of every stamp: raise it when the same phrasebook files give other sentences."""

phrasebook = lru_cache(maxsize=1)(Phrasebook)
"""The phrasebook of a seed, opened once."""


@dataclass(frozen=True)
class PhrasebookReader(Reader):
    """The first `count` sentences of one language and split."""

    language: str
    split: Split
    count: int
    seed: int

    @property
    def name(self) -> str:
        """For people."""
        return f"phrasebook {self.language} {self.split}"

    @property
    def stamp(self) -> str:
        """What is asked of the generator, and the text of its files."""
        digest = blake2b(phrasebook(self.seed).book.source.encode("utf-8"), digest_size=16)
        return f"{self} {GENERATOR} {digest.hexdigest()}"

    def rows(self) -> Iterator[str | Broken]:
        """See `Reader.rows`; nothing is ever broken, and words of mixes have their tags."""
        sentences = phrasebook(self.seed).sentences(self.language, self.split, self.count)
        for sentence in sentences:
            if self.language in MIXES:
                yield located(sentence.text, sentence.tokens, sentence.token_languages)
            else:
                yield sentence.text


def phrasebook_texts(
    languages: Sequence[str] = SPOKEN,
    sentences_per_language: Count = 20_000,
    validation_sentences: Count = 2_000,
    seed: int = 0,
) -> list[LanguageTexts]:
    """Readers of the phrasebook, for whatever reads `LanguageTexts`; see `PhrasebookCorpus`.

    Raises:
        UserError: a language is unknown.
    """
    for language in languages:
        check_language(language)

    def reader(language: str, split: Split, count: int) -> list[Reader]:
        return [PhrasebookReader(language, split, count, seed)]

    return [
        LanguageTexts(
            language,
            train=reader(language, "train", sentences_per_language),
            validation=reader(language, "validation", validation_sentences),
            test=reader(language, "test", validation_sentences),
        )
        for language in sorted(set(languages))
    ]


class PhrasebookCorpus(Corpus):
    """Everyday sentences in seven languages and three code-mixed ones, made from a phrasebook.

    Validation and test sentences have templates or lexemes that training never shows; see
    `Phrasebook`, which also gives tags, labels, entities and translations.

    Args:
        languages: among en, hi, hi-Latn, bn, bn-Latn, es, de and the mixes hi-en, bn-en, bn-hi-en.
        sentences_per_language: different training sentences of each.
        validation_sentences: of each, and as many for testing.
        phrasebook_seed: of the sentences and of what is held out.
        corpus: see `Corpus`.
    """

    licence: ClassVar[str] = "apache-2.0"  # our own text, as the rest of the project

    def __init__(
        self,
        languages: list[str] = list(SPOKEN),  # noqa: B006 (never changed)
        sentences_per_language: Count = 20_000,
        validation_sentences: Count = 2_000,
        phrasebook_seed: Seed = 0,
        **corpus: Any,
    ) -> None:
        check_knobs(PhrasebookCorpus, locals())
        super().__init__(**corpus)
        self._texts = phrasebook_texts(
            languages, sentences_per_language, validation_sentences, phrasebook_seed
        )

    def texts(self) -> list[LanguageTexts]:
        """See `Corpus.texts`."""
        return self._texts


def preview(count: int = 10, seed: int = 0) -> str:
    """Some training sentences, each in all languages, for reading."""
    book = phrasebook(seed)
    columns = [book.sentences(language, "train", count) for language in SPOKEN]
    return "\n\n".join(
        "\n".join([row[0].key, *(f"  {s.language:9} {s.text}" for s in row)])
        for row in zip(*columns, strict=True)
    )
