"""Rules for the pieces of a vocabulary that are worth keeping for the texts of some languages.

Shapes: W ids of the tokenizer.
"""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lit_distill.knobs import CountOrNone, PositiveShare, check_knobs
from lit_distill.models.vocabularies.closure import Closing
from lit_distill.tools.trimming.counting import Counts


@dataclass(frozen=True)
class PieceSelection(metaclass=ABCMeta):  # as a base, ABC would make configs ask for a class_path
    """A rule for the pieces that stay; what they need themselves stays with them.

    Attributes:
        longer_than: texts of more characters are counted.
    """

    longer_than: CountOrNone = 0

    def __post_init__(self) -> None:
        check_knobs(type(self), vars(self))

    def check(self, closing: Closing) -> None:
        """Refuses what cannot work whatever the texts are, before they are read.

        Args:
            closing: what pieces need.

        Raises:
            UserError: with the reason.
        """
        del closing

    @abstractmethod
    def choose(self, counts: Sequence[Counts], closing: Closing) -> set[int]:
        """The ids that stay, of a vocabulary of W.

        Args:
            counts: of every language.
            closing: what pieces need.

        Raises:
            UserError: the rule cannot be followed.
        """


@dataclass(frozen=True)
class LineFrequency(PieceSelection):
    """Pieces that many texts of one language hold: Load What You Need.

    A piece stays if at least int(share * texts) of a language's texts hold it, one at least. The
    texts of one language of less than 1 / share therefore keep all that they hold.

    Abdaoui, Pradel and Sigel, "Load What You Need: Smaller Versions of Multilingual BERT" (2020),
    and github.com/Geotrend-research/smaller-transformers (e204b94), whose texts are lines.

    Attributes:
        share: of the texts of one language.
        longer_than: texts of more characters are counted. The paper's code asks for more than 5 and
            counts the end of the line.
    """

    longer_than: CountOrNone = 4
    share: PositiveShare = 5e-5

    def choose(self, counts: Sequence[Counts], closing: Closing) -> set[int]:
        """See `PieceSelection.choose`."""
        del closing
        least = {one.language: max(int(one.texts * self.share), 1) for one in counts}
        found = [np.flatnonzero(one.holding >= least[one.language]) for one in counts]
        return {number for ids in found for number in ids.tolist()}


@dataclass(frozen=True)
class TokenFrequency(PieceSelection):
    """Pieces that are a large part of one language's tokens: BiStil.

    A piece stays if its share of all tokens, in the language where that is largest, is enough.

    Ansell, Ponti, Korhonen and Vulic, "Distilling Efficient Language-Specific Models for
    Cross-Lingual Transfer" (2023), and github.com/AlanAnsell/bistil.

    Attributes:
        share: of the tokens of one language.
        longer_than: texts of more characters are counted.
    """

    share: PositiveShare = 1e-6

    def choose(self, counts: Sequence[Counts], closing: Closing) -> set[int]:
        """See `PieceSelection.choose`."""
        del closing
        least = {one.language: max(float(one.times.sum()) * self.share, 1.0) for one in counts}
        found = [np.flatnonzero(one.times >= least[one.language]) for one in counts]
        return {number for ids in found for number in ids.tolist()}
