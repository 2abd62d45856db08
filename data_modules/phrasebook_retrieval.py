"""The phrasebook as a retrieval set in several languages, with scores; no download."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, ClassVar

from data_modules.phrasebook import GENERATOR, phrasebook
from data_modules.phrasebook_text.sentences import Sentence, check_language
from data_modules.ranking.collection import Collection, Entry, Text
from data_modules.reading.readers import Broken
from data_modules.retrieval import RetrievalCorpus
from data_modules.storing.tokenising import SPLITS, Split
from lit_distill.knobs import Count, Seed, check_knobs


@dataclass(frozen=True)
class PhrasebookPassages(Collection):
    """Passages of two sentences each, and queries that are one of the two.

    Attributes:
        queries_in: languages of queries.
        passages_in: languages of passages.
        sizes: queries of each split.
        negatives: passages of a list that are not relevant.
        scored: whether lists have scores.
        seed: of the phrasebook, and of what stands beside what.
    """

    queries_in: tuple[str, ...]
    passages_in: tuple[str, ...]
    sizes: tuple[tuple[Split, int], ...]
    negatives: int
    scored: bool
    seed: int

    @property
    def name(self) -> str:
        """For people."""
        return "phrasebook"

    @property
    def stamp(self) -> str:
        """What is asked of the generator, and the text of its files."""
        digest = blake2b(phrasebook(self.seed).book.source.encode("utf-8"), digest_size=16)
        return f"{self} {GENERATOR} {digest.hexdigest()}"

    @property
    def given(self) -> frozenset[Split]:
        """All three splits."""
        return frozenset(SPLITS)

    def languages(self) -> list[str]:
        """See `Collection.languages`."""
        return sorted({*self.queries_in, *self.passages_in})

    @cached_property
    def _said(self) -> dict[str, list[tuple[Split, Sentence]]]:
        """Sentences by language, those of a place saying the same; two each make a passage."""
        book = phrasebook(self.seed)
        return {
            language: [
                (split, sentence)
                for split, count in self.sizes
                for sentence in book.sentences(language, split, 2 * count)
            ]
            for language in self.languages()
        }

    def passages(self) -> Iterator[Text | Broken]:
        """See `Collection.passages`; nothing is ever broken."""
        for language in self.passages_in:
            own = self._said[language]
            for number in range(len(own) // 2):
                first, second = (own[2 * number + step][1].text for step in (0, 1))
                yield Text(f"p{number}", language, f"{first} {second}")

    def queries(self) -> Iterator[Text | Broken]:
        """See `Collection.queries`: the first sentence of every passage, the second of odd ones."""
        for language in self.queries_in:
            own = self._said[language]
            for number in range(len(own) // 2):
                yield Text(f"q{number}", language, own[2 * number + number % 2][1].text)

    def entries(self, split: Split) -> Iterator[Entry | Broken]:
        """See `Collection.entries`: the passage, those that are most alike, and as many others."""
        own = self._said[self.languages()[0]]
        pairs = [(own[place][1], own[place + 1][1]) for place in range(0, len(own), 2)]
        for number, (asked, _) in enumerate(own[::2]):
            if asked == split:
                yield self._entry(number, pairs, [at for at, _ in own[::2]])

    def _entry(
        self, number: int, pairs: list[tuple[Sentence, Sentence]], splits: list[Split]
    ) -> Entry:
        query, draw = pairs[number][number % 2], random.Random(f"{self.seed}/{number}")
        others = [n for n in range(len(pairs)) if n != number and splits[n] == splits[number]]
        others = draw.sample(others, min(len(others), 20 * self.negatives))
        alike = {n: max(likeness(query, one) for one in pairs[n]) for n in (number, *others)}
        # Another passage may say the very same: it is then as relevant.
        same = [n for n in others if any(one.key == query.key for one in pairs[n])]
        near = sorted((n for n in others if n not in same), key=lambda n: (-alike[n], n))
        hard = near[: -(-self.negatives // 2)]
        easy = draw.sample(near[len(hard) :], min(self.negatives // 2, len(near) - len(hard)))
        chosen = [number, *same, *hard, *easy]
        relevant = [int(n == number or n in same) for n in chosen]
        scores = tuple(alike[n] for n in chosen) if self.scored else None
        return Entry(f"q{number}", tuple(f"p{n}" for n in chosen), tuple(relevant), scores)


def likeness(query: Sentence, other: Sentence) -> float:
    """How much two sentences have in common, from 0 to 6: their template, and their words.

    1 for the topic, 2 for the template, and 3 times the share of words (Jaccard) that both have.
    """
    words, others = {*query.lexemes}, {*other.lexemes}
    shared = len(words & others) / max(len(words | others), 1)
    return (query.topic == other.topic) + 2.0 * (query.template == other.template) + 3.0 * shared


class PhrasebookRetrieval(RetrievalCorpus):
    """Everyday sentences to be found in passages of two, in any of the phrasebook's languages.

    A passage is there in every language, so that mixing has something to mix. Queries of validation
    and testing have templates or words that those of training never have. Scores are a known
    function of what sentences have in common (`likeness`), as an ideal teacher would give them.

    Args:
        queries_in: languages of queries: en, hi, hi-Latn, bn, bn-Latn, es, de, or a mix.
        passages_in: languages of passages.
        queries: for training, each with a passage of its own.
        measured_queries: for validation, and as many for testing.
        negatives: passages of a list that are not relevant: half of them alike, half drawn.
        scored: give the scores; else lists have relevance alone.
        phrasebook_seed: of the sentences and of what stands beside what.
        retrieval: see `RetrievalCorpus`.
    """

    licence: ClassVar[str] = "apache-2.0"  # our own text, as the rest of the project

    def __init__(
        self,
        queries_in: list[str] = ["en"],  # noqa: B006 (never changed)
        passages_in: list[str] = ["bn", "de", "es", "hi"],  # noqa: B006 (never changed)
        queries: Count = 1_000,
        measured_queries: Count = 100,
        negatives: Count = 7,
        scored: bool = True,
        phrasebook_seed: Seed = 0,
        **retrieval: Any,
    ) -> None:
        check_knobs(PhrasebookRetrieval, locals())
        super().__init__(sources=[], data_dir=".", **retrieval)
        for language in (*queries_in, *passages_in):
            check_language(language)
        sizes: tuple[tuple[Split, int], ...] = (
            ("train", queries),
            ("validation", measured_queries),
            ("test", measured_queries),
        )
        asked, read = (tuple(sorted(set(own))) for own in (queries_in, passages_in))
        given = asked, read, sizes, negatives, scored, phrasebook_seed
        self._collections: list[Collection] = [PhrasebookPassages(*given)]

    def collections(self) -> list[Collection]:
        """See `RetrievalCorpus.collections`."""
        return self._collections
