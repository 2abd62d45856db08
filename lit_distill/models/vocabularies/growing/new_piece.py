"""A piece that a vocabulary is to get."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NewPiece:
    """A piece and where it comes from.

    Attributes:
        text: as the vocabulary writes it: with `##` inside of words (WordPiece), in the alphabet of
            bytes (byte-level BPE), with the mark of a word's start (Unigram).
        parts: the old ids into which the old tokenizer cuts it, two at least.
        word: a part of a text, as the pre-tokenizer leaves it, in whose cut the piece stands.
    """

    text: str
    parts: tuple[int, ...]
    word: str

    @property
    def saved(self) -> int:
        """How many tokens one use of it saves."""
        return len(self.parts) - 1


@dataclass(frozen=True)
class Growth:
    """All that is added to a tokenizer.

    Attributes:
        pieces: in the order of their ids.
        merges: of BPE, one per piece, in the order in which they take place: behind all old ones.
    """

    pieces: tuple[NewPiece, ...]
    merges: tuple[tuple[str, str], ...] = ()
