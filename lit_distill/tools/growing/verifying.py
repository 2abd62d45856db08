"""Whether a grown tokenizer and model are the old ones wherever no new piece is.

Shapes: T tokens of a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from lit_distill.errors import UserError
from lit_distill.models.vocabularies.growing.finding import cut
from lit_distill.models.vocabularies.growing.new_piece import NewPiece
from lit_distill.tools.trimming.verifying import TOLERANCE, Reading

_REPORT = "Nothing is written: please report it."


@dataclass(frozen=True)
class Agreement:
    """What was compared, and found to be the same.

    Attributes:
        texts: held-out texts of one language.
        without: how many of them have no new piece: each is cut as before.
        read: how many texts, as they were cut before, both models read: hidden states are equal bit
            for bit, and so are the products with the old rows of the head.
        logits: largest difference of an old logit; None without a head.
    """

    texts: int
    without: int
    read: int
    logits: float | None


def check_cuts(
    language: str, texts: Sequence[str], old: Tokenizer, new: Tokenizer, growth: Sequence[NewPiece]
) -> tuple[int, list[list[int]]]:
    """How many texts have no new piece, and the old ids of all.

    With merges, more is compared: a text with new pieces, each of them spelt out, is cut as before.

    Args:
        language: of the texts.
        texts: held out.
        old: engine of the tokenizer before.
        new: after.
        growth: new pieces, in the order of their ids.

    Raises:
        UserError: a text is cut otherwise.
    """
    first = max(old.get_vocab().values()) + 1
    merged = type(old.model).__name__ == "BPE"
    before, after = (
        [one.ids for one in engine.encode_batch_fast(list(texts), add_special_tokens=False)]
        for engine in (old, new)
    )
    without = 0
    for text, one, other in zip(texts, before, after, strict=True):
        has_none = max(other, default=0) < first
        without += has_none
        if not (has_none or merged):
            continue
        spelt = [
            part
            for number in other
            for part in ((number,) if number < first else growth[number - first].parts)
        ]
        if spelt != one:
            what = "it has no new piece" if has_none else "new pieces are merged from old ones"
            raise UserError(
                f"The grown tokenizer cuts a text in {language} otherwise, though {what}: "
                f"{text[:80]!r}. {_REPORT}"
            )
    return without, [ids for ids in before if ids]


def check_reachable(new: Tokenizer, pieces: Iterable[NewPiece]) -> None:
    """Refuses a vocabulary with a piece into which nothing is cut.

    Args:
        new: engine of the grown tokenizer.
        pieces: with the word in which each stands.

    Raises:
        UserError: one does not stand there.
    """
    for piece in pieces:
        if piece.text not in [text for _, text in cut(new.model, piece.word)]:
            raise UserError(
                f"The grown tokenizer has the piece {piece.text!r} and cuts {piece.word!r} without "
                f"it. {_REPORT}"
            )


def agreement(
    language: str, texts: int, without: int, before: Sequence[Reading], after: Sequence[Reading]
) -> Agreement:
    """How both models agree about old ids.

    Args:
        language: of the texts.
        texts: held out.
        without: how many have no new piece.
        before: of the old model, its old rows alone.
        after: of the grown one, its old rows alone.

    Raises:
        UserError: they do not.
    """
    most: float | None = None
    for one, other in zip(before, after, strict=True):
        same = torch.equal(one.states, other.states)
        if one.products is not None and other.products is not None:
            same = same and torch.equal(one.products, other.products)
        if not same:
            raise UserError(
                f"The grown model has other hidden states or scores of old pieces for a text in "
                f"{language}. {_REPORT}"
            )
        if (apart := one.apart(other)) is None:
            continue
        if not apart[1] <= TOLERANCE:
            raise UserError(
                f"The grown model has other logits for a text in {language}: old ones differ by "
                f"{apart[0]:.1e}, {apart[1]:.1e} of what they add up. {_REPORT}"
            )
        most = max(most or 0.0, apart[0])
    return Agreement(texts, without, len(before), most)
