"""Where a sentence can switch language: words, phrases and clauses that have a counterpart.

The matrix language gives the frame (Myers-Scotton, 1993, "Duelling languages"): its order of words
stays, and stretches of it are replaced by their counterparts in an embedded language. A unit is a
stretch [start, stop) of the matrix sentence's words, marks of punctuation among them.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from data_modules.code_mixing.word_alignment import Links
from data_modules.text.code_mixing_statistics import code_mixing_index, switch_point_fraction

Kind = Literal["word", "phrase", "clause"]

_MARKS = r""".,;:!?¿¡।॥"“”„()\[\]{}…–—«»|/"""
WORD = re.compile(rf"[^\s{_MARKS}]+|[{_MARKS}]")
"""A word, or one mark (vowel signs are no \\w, so words are what marks leave)."""
CLAUSE_MARKS = frozenset(",;:।—–")
LONGEST_PHRASE = 4
SHORTEST_CLAUSE = 3
ORDERS = 16
"""Choices of units that are tried for each sentence."""


@dataclass(frozen=True)
class Unit:
    """A stretch of the matrix sentence and what can stand there instead.

    Attributes:
        start: its first word.
        stop: after its last one.
        language: of the words that replace it.
        words: these.
    """

    start: int
    stop: int
    language: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Frame:
    """A matrix sentence that is ready to be mixed.

    Attributes:
        words: of the sentence, with its punctuation.
        glued: for each word, whether it follows the one before without a space.
        language: the matrix language.
        names: places of proper names, which have no language, and how they are written.
        units: what can be replaced, preferred ones (other than function words) first.
        preferred: how many these are.
    """

    words: tuple[str, ...]
    glued: tuple[bool, ...]
    language: str
    names: Mapping[int, str]
    units: tuple[Unit, ...]
    preferred: int

    def tags(self) -> list[str | None]:
        """The matrix language for every word that is none of a name, number or mark."""
        return [
            self.language if place not in self.names and has_letters(word) else None
            for place, word in enumerate(self.words)
        ]


@dataclass
class Mixed:
    """A frame with some of its units replaced: words, their languages, and whether glued."""

    words: list[str] = field(default_factory=list)
    tags: list[str | None] = field(default_factory=list)
    glued: list[bool] = field(default_factory=list)

    @property
    def _word_tags(self) -> list[str | None]:
        return [tag for tag, word in zip(self.tags, self.words, strict=True) if not _is_mark(word)]

    @property
    def cmi(self) -> float:
        """Of the words; marks are none."""
        return code_mixing_index(self._word_tags)

    @property
    def switches(self) -> float:
        """The switch-point fraction of the words."""
        return switch_point_fraction(self._word_tags)


def has_letters(word: str) -> bool:
    """Whether it can have a language: not a number, not a mark."""
    return any(map(str.isalpha, word))


def _is_mark(word: str) -> bool:
    return not any(map(str.isalnum, word))


def split_words(text: str) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """Words and marks of a text, and which of them follow the one before without a space."""
    found = list(WORD.finditer(text))
    ends = [-1, *(match.end() for match in found)]
    return (
        tuple(match[0] for match in found),
        tuple(match.start() == end for match, end in zip(found, ends, strict=False)),
    )


def units_of(
    kind: Kind, matrix: Sequence[str], embedded: Sequence[str], links: Links, language: str
) -> list[Unit]:
    """Stretches of the matrix sentence whose counterparts are stretches too.

    Args:
        kind: the longest kind of unit: a `word` linked to one word; a `phrase` of at most
            `LONGEST_PHRASE` words (or a word); a `clause` between marks (or a phrase or word).
        matrix: words of the matrix sentence.
        embedded: words of the other one.
        links: between the two.
        language: of the other one.
    """
    by_matrix: dict[int, list[int]] = {}
    for first, second in links:
        by_matrix.setdefault(first, []).append(second)
    by_embedded = Counter(second for _, second in links)
    units = [
        Unit(first, first + 1, language, (embedded[seconds[0]],))
        for first, seconds in by_matrix.items()
        if len(seconds) == 1 and by_embedded[seconds[0]] == 1
    ]
    if kind != "word":
        for start in by_matrix:
            for stop in range(start + 2, start + 1 + LONGEST_PHRASE):
                if stop - 1 in by_matrix:
                    units += _stretch(start, stop, matrix, embedded, links, language, 0.6)
    if kind == "clause":
        marks = [i for i, word in enumerate(matrix) if word in CLAUSE_MARKS]
        ends = [-1, *marks, len(matrix)]
        for before, end in pairwise(ends):
            if end - before > SHORTEST_CLAUSE and end - before - 1 < len(matrix):
                units += _stretch(before + 1, end, matrix, embedded, links, language, 0.3)
    return [unit for unit in units if all(map(has_letters, unit.words))]


def _stretch(
    start: int,
    stop: int,
    matrix: Sequence[str],
    embedded: Sequence[str],
    links: Links,
    language: str,
    linked: float,
) -> list[Unit]:
    """The unit [start, stop), if no link leaves the two stretches (Och and Ney, 2004).

    Args:
        start: first word.
        stop: after the last word.
        matrix: words of the matrix sentence.
        embedded: words of the other one.
        links: between the two.
        language: of the other one.
        linked: least share of the words, on both sides, that have a link.
    """
    inside = [link for link in links if start <= link[0] < stop]
    if not inside:
        return []
    low, high = min(j for _, j in inside), max(j for _, j in inside) + 1
    longest = max(stop - start, high - low)
    if len(inside) < linked * longest or high - low > 2 * (stop - start):
        return []
    if any(low <= j < high and not start <= i < stop for i, j in links):
        return []
    words = tuple(embedded[low:high])
    if any(_is_mark(word) for word in (*words, *matrix[start:stop])):
        return []
    return [Unit(start, stop, language, words)]


def replaced(frame: Frame, chosen: Sequence[Unit]) -> Mixed:
    """The frame with these units, which do not overlap, in the place of its own words."""
    starts = {unit.start: unit for unit in chosen}
    mixed, tags = Mixed(), frame.tags()
    place = 0
    while place < len(frame.words):
        unit = starts.get(place)
        if unit is None:
            mixed.words.append(frame.names.get(place, frame.words[place]))
            mixed.tags.append(tags[place])
            mixed.glued.append(frame.glued[place])
            place += 1
            continue
        mixed.words += unit.words
        mixed.tags += [unit.language] * len(unit.words)
        mixed.glued += [frame.glued[place], *[False] * (len(unit.words) - 1)]
        place = unit.stop
    return mixed


def mixed_frame(frame: Frame, cmi: float, switches: float | None, draw: random.Random) -> Mixed:
    """The frame mixed as near to the wishes as the orders that are tried come.

    Args:
        frame: what is mixed.
        cmi: wished code-mixing index; the matrix language keeps at least as many words as any.
        switches: wished switch-point fraction, or None.
        draw: all chances.
    """
    best: Sequence[Unit] = ()
    distance = float("inf")
    for number in range(ORDERS if frame.units else 0):
        together = switches is not None and number % 2 == 1
        for chosen, reached in _growing(frame, _order(frame, draw, together), cmi):
            off = abs(reached - cmi)
            if switches is not None:
                off += 100.0 * abs(replaced(frame, chosen).switches - switches)
            if off < distance - 1e-9:
                best, distance = chosen, off
        if distance < 1.0:
            break
    return replaced(frame, best)


def _order(frame: Frame, draw: random.Random, together: bool) -> list[Unit]:
    """Units in the order in which they are taken: preferred ones first, or neighbours together."""
    first, rest = list(frame.units[: frame.preferred]), list(frame.units[frame.preferred :])
    draw.shuffle(first)
    draw.shuffle(rest)
    units = first + rest
    if together:
        middle = units[0].start
        units.sort(key=lambda unit: abs(unit.start - middle))
    return units


def _growing(frame: Frame, order: Sequence[Unit], cmi: float) -> Iterator[tuple[list[Unit], float]]:
    """Choices of units, and their indices: the last below the wished mixing, the first above it."""
    tags = frame.tags()
    counts = Counter(tag for tag in tags if tag is not None)
    taken: set[int] = set()
    chosen: list[Unit] = []
    reached = 0.0
    for unit in order:
        stretch = range(unit.start, unit.stop)
        if taken.intersection(stretch):
            continue
        after = counts.copy()
        after.subtract(tag for tag in tags[unit.start : unit.stop] if tag is not None)
        after[unit.language] += len(unit.words)
        if after[frame.language] < max(n for tag, n in after.items() if tag != frame.language):
            continue
        more = 100.0 * (1.0 - after[frame.language] / after.total())
        if more >= cmi:
            yield chosen, reached
            yield [*chosen, unit], more
            return
        counts, reached = after, more
        chosen = [*chosen, unit]
        taken.update(stretch)
    yield chosen, reached
