"""Whether a text's translation is the nearest one among all of its language."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from data_modules.pairing.rows import Pairing, split_pairs
from data_modules.parallel import ParallelCorpus
from data_modules.storing.corpus_report import FileReport, check_broken
from data_modules.text.deduplication import marks_of
from data_modules.text.markers import engine
from lit_distill.errors import UserError
from lit_distill.knobs import Count, check_knobs
from lit_distill.measures.probing import Asked, Pooling, vectors
from lit_distill.tools.evaluating.cells.mode import Mode, Question
from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions

Pair = tuple[str, str]
"""Two texts, or two languages: what is asked, and what is looked for."""


@dataclass(frozen=True)
class CrossLingualRetrieval(Mode):
    """Asks for the nearest translation, by the cosine of pooled last hidden states.

    Every text of one language is a query, and all different texts of the other are its candidates,
    in both directions. Those that the data pairs with a query are relevant: several, where a text
    has several translations. A cell's languages are directions, "hi>en". Encoders need no head.

    Attributes:
        pooling: what stands for a text; see `Pooling`. What the model was trained with, else mean.
        prefix: stands before every text, as "query: " does for E5.
        whole: ask about all rows of the corpus instead of those that it holds out; only for files
            of which no model was trained or selected on a row.
        at_most: pairs of each direction, evenly spread: the candidates of a query.
        max_length: most tokens that are read, special ones included; longer texts are cut.
    """

    pooling: Pooling = "mean"
    prefix: str = ""
    whole: bool = False
    at_most: Count = 500
    max_length: Count = 128
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_knobs(CrossLingualRetrieval, vars(self))

    def predict(self, question: Question) -> Predictions:
        """See `Mode.predict`; a row is a candidate, and an example a query."""
        data = question.data
        if not isinstance(data, ParallelCorpus):
            raise UserError(
                f"A {type(data).__name__} has no pairs of texts that say the same: give a "
                "ParallelCorpus."
            )
        pairs = {way: _spread(own, self.at_most) for way, own in self._pairs(data).items()}
        texts = list(dict.fromkeys(text for own in pairs.values() for each in own for text in each))
        asked = Asked.opened(question.model, needs_head=False, engine=engine)
        found = vectors(
            asked, [self.prefix + text for text in texts], self.pooling, self.max_length
        )
        places = {text: place for place, text in enumerate(texts)}
        names = [f"{source}>{target}" for source, target in pairs]
        rows = [
            row
            for number, own in enumerate(pairs.values())
            for row in _ranked(own, number, names[number], found, places)
        ]
        examples, language, targets, scores = (np.concatenate(c) for c in zip(*rows, strict=True))
        return Predictions(Kind.RANKING, examples, language, names, targets, scores[:, None])

    def _pairs(self, data: ParallelCorpus) -> dict[Pair, list[Pair]]:
        """Different pairs of texts by direction, in the order of the data."""
        readers, reports = data.readers(), list[FileReport]()
        there = sorted({language for reader in readers for language in reader.languages})
        pairing = Pairing.of(there, data.src_languages, data.tgt_languages, data.pivot)
        ways = list(dict.fromkeys(way for a, b in pairing.pairs for way in ((a, b), (b, a))))
        found: dict[Pair, dict[Pair, None]] = {way: {} for way in ways}
        for split, rows, _ in split_pairs(readers, pairing, data.settings, reports):
            for _, row in rows if self.whole or split == "validation" else ():
                for source, target in ways:
                    if source in row and target in row:
                        found[source, target][row[source], row[target]] = None
        check_broken(reports, data.max_broken)
        empty = [f"{source}>{target}" for (source, target), own in found.items() if not own]
        if empty:
            raise UserError(
                f"No pairs of texts for {', '.join(empty)}: hold more out (data.init_args.holdout) "
                "or, if no model has seen the files, ask about all of them (whole: true)."
            )
        return {way: list(own) for way, own in found.items()}


def _spread(pairs: Sequence[Pair], at_most: int) -> list[Pair]:
    count = min(at_most, len(pairs))
    return [pairs[number * len(pairs) // count] for number in range(count)]


def _ranked(
    pairs: Sequence[Pair],
    number: int,
    name: str,
    vectors_of: np.ndarray,
    places: dict[str, int],
) -> Iterator[tuple[np.ndarray, ...]]:
    """Of every query: hash, number of its direction (`name`), relevances and cosines, all (C,)."""
    candidates = list(dict.fromkeys(target for _, target in pairs))
    partners: dict[str, set[str]] = {}
    for source, target in pairs:
        partners.setdefault(source, set()).add(target)
    theirs = vectors_of[[places[text] for text in candidates]]
    # A text is asked in several directions, which are examples of their own.
    marks = marks_of([json.dumps([name, query]).encode() for query in partners])
    for mark, (query, own) in zip(marks, partners.items(), strict=True):
        yield (
            np.full(len(candidates), mark),
            np.full(len(candidates), number),
            np.array([float(text in own) for text in candidates]),
            theirs @ vectors_of[places[query]],
        )
