"""A vocabulary of a given size, shared by languages according to need.

Shapes: L languages, W ids of the tokenizer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lit_distill.errors import UserError
from lit_distill.knobs import Count, PositiveShare, check_knobs
from lit_distill.models.vocabularies.closure import Closing
from lit_distill.tools.trimming.counting import Counts
from lit_distill.tools.trimming.selections import PieceSelection

GROWTH = 1.25
"""After so much growth of a vocabulary it is looked up anew what missing pieces are cut into."""


@dataclass(frozen=True)
class SizeBudget(PieceSelection):
    """So many pieces in all, given one by one to the language whose texts grow most without them.

    First comes what every vocabulary needs, and the characters of each language. Then, as long as
    there is room, the language whose texts are now longest, in tokens and compared with the whole
    vocabulary, gets the piece that saves it most, with what that piece is made of. A piece that is
    not there counts as the kept ones that it is cut into (`Closing.length`), which are looked up
    again whenever the vocabulary has grown by a quarter. Pieces help all languages that have them.

    Attributes:
        pieces: in all, special tokens included.
        coverage: the most frequent characters of a language that make up this share of its text
            stay before any longer piece. Byte-level vocabularies keep all bytes anyway.
        longer_than: texts of more characters are counted.
    """

    pieces: Count = 32000
    coverage: PositiveShare = 0.9999

    def __post_init__(self) -> None:
        check_knobs(SizeBudget, vars(self))

    def check(self, closing: Closing) -> None:
        """See `PieceSelection.check`."""
        least = len(closing.of(()))
        if least > self.pieces:
            raise UserError(
                f"SizeBudget.pieces is {self.pieces:,}, and special tokens and the alphabet alone "
                f"take {least:,}: raise it."
            )

    def choose(self, counts: Sequence[Counts], closing: Closing) -> set[int]:
        """See `PieceSelection.choose`."""
        kept = {*closing.of(self._characters(counts, closing))}
        if len(kept) > self.pieces:
            raise UserError(
                f"SizeBudget.pieces is {self.pieces:,}, and special tokens and the characters of "
                f"{len(counts)} languages alone take {len(kept):,}: raise it, or lower coverage."
            )
        budget = _Budget(counts, closing, kept)
        while len(kept) < self.pieces and budget.serve(self.pieces - len(kept)):
            pass
        return kept

    def _characters(self, counts: Sequence[Counts], closing: Closing) -> set[int]:
        """The frequent characters of each language, where they are pieces."""
        kept: set[str] = set()
        for one in counts:
            letters: Counter[str] = Counter()
            for number in np.flatnonzero(one.times).tolist():
                for letter in closing.spelt(number):
                    letters[letter] += int(one.times[number])
            wanted, so_far = self.coverage * letters.total(), 0
            for letter, count in letters.most_common():
                if so_far >= wanted:
                    break
                kept.add(letter)
                so_far += count
        return closing.numbers_of(kept)


class _Budget:
    """Who is in need, and what helps.

    Args:
        counts: of every language.
        closing: what pieces need.
        kept: ids that stay so far; grows.
    """

    def __init__(self, counts: Sequence[Counts], closing: Closing, kept: set[int]) -> None:
        self._closing, self._kept = closing, kept
        self._times = np.stack([one.times for one in counts])
        self._counted: list[int] = np.flatnonzero(self._times.any(0)).tolist()
        self._whole = np.maximum(self._times.sum(1), 1)
        self._look()

    def _look(self) -> None:
        """Looks up what each missing piece is cut into, and ranks what would help."""
        more = np.zeros(self._times.shape[1], dtype=np.int64)
        for number in self._counted:
            if number not in self._kept:
                more[number] = self._closing.length(number, self._kept) - 1
        self._saved: NDArray[np.int64] = np.ascontiguousarray((self._times * more).T)
        """Tokens (W, L) that each missing piece would save each language."""
        self._tokens = self._times.sum(1) + self._saved.sum(0)
        self._waiting = [self._ranked(row) for row in range(len(self._times))]
        self._looked_at = len(self._kept)

    def _ranked(self, language: int) -> list[int]:
        """Pieces that save a language anything, what saves most last."""
        saved = self._saved[:, language]
        order = np.argsort(-saved, kind="stable")[: int((saved > 0).sum())]
        ranked: list[int] = order[::-1].tolist()
        return ranked

    def serve(self, room: int) -> bool:
        """Gives one piece to the language in most need; False if nothing helps that has room."""
        if len(self._kept) >= GROWTH * self._looked_at:
            self._look()
        growth = self._tokens / self._whole
        for language in np.argsort(-growth, kind="stable").tolist():
            waiting = self._waiting[language]
            while waiting:
                piece = waiting.pop()
                if piece in self._kept:
                    continue
                new = ({piece} | self._closing.needs(piece)) - self._kept
                if len(new) <= room:
                    self._kept |= new
                    self._tokens -= self._saved[sorted(new)].sum(0)
                    return True
        return False
