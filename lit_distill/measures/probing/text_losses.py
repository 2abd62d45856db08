"""How badly language models predict whole texts.

Of decoders this is the negative log-likelihood; of masked models the pseudo-log-likelihood, for
which every token is hidden in turn (Salazar et al. 2020, "Masked Language Model Scoring", eq. 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from logging import getLogger

import numpy as np

from lit_distill.measures.probing.asked import Asked
from lit_distill.measures.probing.guesses import Floats, Guess, log_probabilities

TEXTS_AT_ONCE = 16
UNKNOWN_SHARE = 0.001  # of tokens, above which losses flatter a model
_log = getLogger(__name__)


def text_losses(asked: Asked, texts: Sequence[str], max_length: int) -> tuple[Floats, Floats]:
    """Losses (N,) of texts in nats, sums over their tokens, and how many tokens these are (N,).

    Args:
        asked: a masked language model or a decoder.
        texts: one of more than `max_length` tokens is read in parts, which do not see each other.
        max_length: most tokens that are read together, special ones included.

    Raises:
        UserError: it is no language model, or `max_length` is too small for any text.
    """
    asked.check_language_model()
    room, losses, tokens, unknown = asked.room(max_length), np.zeros(len(texts)), list[int](), 0
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        guesses, owners = list[Guess](), list[int]()
        for number, encoding in enumerate(asked.encoded(texts[start : start + TEXTS_AT_ONCE])):
            ids = encoding.ids
            tokens.append(len(ids))
            unknown += ids.count(asked.tokenizer.unk_token_id)
            for first in range(0, len(ids), room):
                own = _guesses(asked, ids[first : first + room])
                guesses += own
                owners += [start + number] * len(own)
        np.add.at(losses, owners, -log_probabilities(asked.model, guesses))
    if unknown > UNKNOWN_SHARE * sum(tokens):
        _log.warning(
            "%.1f %% of the tokens are unknown to %s: they are easier to predict than the text "
            "they stand for, and its losses too low to be compared.",
            100 * unknown / sum(tokens),
            asked.name,
        )
    return losses, np.array(tokens, dtype=np.float64)


def _guesses(asked: Asked, ids: list[int]) -> list[Guess]:
    """Every token of a part once: all in one reading, or in one of its own each."""
    whole, first = asked.framed(ids), len(asked.frame[0])
    places = range(first, first + len(ids))
    if not asked.masked:
        return [Guess(tuple(whole), tuple(place - 1 for place in places), tuple(ids))]
    mask = asked.tokenizer.mask_token_id
    return [
        Guess((*whole[:place], mask, *whole[place + 1 :]), (place,), (whole[place],))
        for place in places
    ]
