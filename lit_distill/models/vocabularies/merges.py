"""The merges of a BPE vocabulary, and through which of them a piece is made."""

from __future__ import annotations

from collections.abc import Container
from itertools import pairwise
from typing import Any


class Merges:
    """Merges in the order of their rank, which can be followed from characters to a piece.

    Inside of a text that is cut into it, a piece is made of its characters by the same merges as
    alone: no merge across its ends has taken place, and those within do not look beyond.

    Args:
        model: of a tokenizer.json, of type BPE.
    """

    def __init__(self, model: dict[str, Any]) -> None:
        numbers: dict[str, int] = model["vocab"]
        self.prefix: str = model.get("continuing_subword_prefix") or ""
        self.ranks: dict[tuple[int, int], tuple[int, int]] = {}
        """Rank and result of each pair."""
        self._parts: dict[int, tuple[int, int]] = {}
        for rank, (left, right) in enumerate(model["merges"]):
            pair = numbers[left], numbers[right]
            result = numbers[left + right[len(self.prefix) :]]
            self.ranks[pair] = rank, result
            self._parts.setdefault(result, pair)

    def made_through(self, piece: int) -> set[int]:
        """The pieces that one is made through: characters and what is merged of them, without it.

        Args:
            piece: an id; one that no merge gives is made of nothing.
        """
        return self.merged(piece)[1] - {piece}

    def merged(
        self, piece: int, allowed: Container[int] | None = None
    ) -> tuple[list[int], set[int]]:
        """What the characters of a piece are merged into, and all pieces on the way.

        Args:
            piece: an id.
            allowed: what may be merged to; None: anything.
        """
        row = self.characters(piece)
        through = {*row}
        while len(row) > 1:
            places = [
                place
                for place, pair in enumerate(pairwise(row))
                if pair in self.ranks and (allowed is None or self.ranks[pair][1] in allowed)
            ]
            if not places:
                break
            # of several places with one pair, the first
            place = min(places, key=lambda at: self.ranks[row[at], row[at + 1]])
            _, result = self.ranks[row[place], row[place + 1]]
            row[place : place + 2] = [result]
            through.add(result)
        return row, through

    def characters(self, piece: int) -> list[int]:
        """The pieces without parts (N,) that one consists of, in order: its characters or bytes."""
        row, waiting = [], [piece]
        while waiting:
            number = waiting.pop()
            pair = self._parts.get(number)
            if pair is None:
                row.append(number)
            else:
                waiting += reversed(pair)
        return row
