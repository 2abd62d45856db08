"""Pooling: the states of a text as one vector.

Shapes: B texts, T padded length, D hidden size.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lit_distill.models.body.encoded import Encoded

Pooling = Literal["mean", "first", "last", "weighted"]
"""Which states stand for a text: the mean over its positions, special tokens included; the first
or the last one of them; or a mean in which position k, from 1, counts k times."""


def pooled(encoded: Encoded, pooling: Pooling) -> Tensor:
    """Vectors (B, D) of texts, in at least float32; padding has no part, wherever it stands.

    Args:
        encoded: of texts with one real position at least.
        pooling: see `Pooling`.
    """
    states, mask = encoded.hidden, encoded.mask
    states = states.to(torch.promote_types(states.dtype, torch.float32))
    places = mask.cumsum(1) * mask  # from 1 on; 0 where there is padding
    if pooling in ("first", "last"):
        place = 1 if pooling == "first" else places.amax(1, keepdim=True)
        chosen = (places == place).to(states.dtype)
    else:
        chosen = (places if pooling == "weighted" else mask).to(states.dtype)
    sums = torch.einsum("btd,bt->bd", states, chosen)
    return sums / chosen.sum(1, keepdim=True)
