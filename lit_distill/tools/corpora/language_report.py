"""What the texts of one language or mix look like: sizes, tokens, scripts, repeats, mixing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_modules.reading.readers import Broken
from data_modules.reading.sources import LanguageTexts
from data_modules.reading.tagged_text import TaggedText
from data_modules.text.code_mixing_statistics import MixingStatistics, script_counts
from data_modules.text.deduplication import SeenTexts, marks_of
from data_modules.text.lost_letters import lost_share
from data_modules.text.markers import engine

LENGTH_EDGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Lower edges of the bins of the length histogram, in tokens; the last bin is open."""
UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
TEXTS_AT_ONCE = 2000
FIRST_TEXTS = 1000
"""How many texts are searched for lost letters."""


@dataclass
class LanguageReport:
    """One language or mix; all its texts, training, validation and test.

    Attributes:
        language: its tag.
        documents: texts that could be read.
        broken: rows that gave none.
        repeats: texts that are exactly equal to an earlier one.
        characters: of all texts.
        words: stretches between spaces.
        tokens: without special ones.
        unknown: tokens that are the tokenizer's unknown token.
        lost_rate: share of the letters, signs and joiners of the first texts that no token stands
            for: a tokenizer may drop them before it makes any.
        lengths: documents by tokens, by the bins of `LENGTH_EDGES`; a text without tokens counts
            in the first.
        scripts: letters of every script.
        mixing: of the texts whose words have language tags.
    """

    language: str
    documents: int = 0
    broken: int = 0
    repeats: int = 0
    characters: int = 0
    words: int = 0
    tokens: int = 0
    unknown: int = 0
    lost_rate: float = 0.0
    lengths: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(LENGTH_EDGES), dtype=np.int64)
    )
    scripts: Counter[str] = field(default_factory=Counter)
    mixing: MixingStatistics = field(default_factory=MixingStatistics)

    @property
    def fertility(self) -> float | None:
        """Tokens per word; None where words are not spaced: most letters are of such a script."""
        unspaced = sum(self.scripts[script] for script in UNSPACED)
        if 2 * unspaced > self.scripts.total():
            return None
        return self.tokens / max(self.words, 1)

    @property
    def characters_per_token(self) -> float:
        """Comparable between languages with and without spaces."""
        return self.characters / max(self.tokens, 1)

    @property
    def unknown_rate(self) -> float:
        """Share of the tokens that are unknown."""
        return self.unknown / max(self.tokens, 1)

    def as_json(self) -> dict[str, Any]:
        """All numbers; mixing statistics are None where no word has a tag."""
        scripts = {name: count / self.scripts.total() for name, count in self.scripts.most_common()}
        mixing = self.mixing
        counts = ("documents", "broken", "repeats", "characters", "words", "tokens")
        shares = ("fertility", "characters_per_token", "unknown_rate", "lost_rate")
        statistics = (
            *("cmi", "cmi_with_switches", "m_index", "i_index", "switch_point_fraction"),
            *("burstiness", "language_entropy", "shares"),
        )
        return {
            **{name: getattr(self, name) for name in (*counts, *shares)},
            "lengths": dict(zip(map(str, LENGTH_EDGES), self.lengths.tolist(), strict=True)),
            "scripts": scripts,
            "tagged_documents": mixing.tagged_utterances,
            "mixing": {name: getattr(mixing, name) for name in statistics}
            if mixing.tagged_utterances
            else None,
        }


def report_of(texts: LanguageTexts, tokenizer: Any) -> LanguageReport:
    """Reads all texts of a language once.

    Args:
        texts: its readers.
        tokenizer: a fast one; special tokens are not added.

    Raises:
        UserError: a file cannot be read.
    """
    report = LanguageReport(texts.language)
    seen, backend = SeenTexts(), engine(tokenizer)
    characters: Counter[str] = Counter()
    first: list[str] = []
    for part in _parts(texts, report):
        report.documents += len(part)
        report.repeats += int((~seen.add(marks_of([text.encode("utf-8") for text in part]))).sum())
        for text in part:
            characters.update(text)
            report.words += len(text.split())
            if isinstance(text, TaggedText):
                report.mixing.add(text.word_tags)
        cut = backend.encode_batch_fast(list(map(str, part)), add_special_tokens=False)
        encoded = [one.ids for one in cut]
        lengths = np.fromiter(map(len, encoded), np.int64, len(part))
        report.tokens += int(lengths.sum())
        bins = np.maximum(np.searchsorted(LENGTH_EDGES, lengths, side="right") - 1, 0)
        report.lengths += np.bincount(bins, minlength=len(LENGTH_EDGES))
        report.unknown += sum(ids.count(tokenizer.unk_token_id) for ids in encoded)
        first += map(str, part[: FIRST_TEXTS - len(first)])
    looked = backend.encode_batch(first, add_special_tokens=False)
    report.lost_rate = lost_share(backend.normalizer, tokenizer.unk_token_id, first, looked)
    report.characters = characters.total()
    report.scripts = script_counts(characters)
    return report


def _parts(texts: LanguageTexts, report: LanguageReport) -> Iterator[list[str]]:
    part: list[str] = []
    for reader in (*texts.train, *texts.validation, *texts.test):
        for row in reader.rows():
            if isinstance(row, Broken):
                report.broken += 1
                continue
            part.append(row)
            if len(part) == TEXTS_AT_ONCE:
                yield part
                part = []
    if part:
        yield part
