"""Whole texts as a model sees them: one vector each, or probabilities of labels.

Shapes: N texts, D hidden size, C labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lit_distill.errors import UserError
from lit_distill.measures.probing.asked import Asked
from lit_distill.measures.probing.guesses import Floats, batches, padded
from lit_distill.models import Encoded

Pooling = Literal["mean", "first", "last"]
"""Which states stand for a text: the mean over its positions, special tokens included, or one."""


def vectors(asked: Asked, texts: Sequence[str], pooling: Pooling, max_length: int) -> Floats:
    """Last hidden states (N, D) of texts, pooled and of length 1.

    Args:
        asked: an encoder or a decoder, with any head or none.
        texts: cut at their end where they are too long.
        pooling: see `Pooling`.
        max_length: most tokens that are read, special ones included.

    Raises:
        UserError: it is an encoder-decoder.
    """
    if asked.model.reads_pairs:
        raise UserError(
            f"{asked.name} is an encoder-decoder, and a text is no pair: give an encoder or a "
            "decoder as the one that makes vectors."
        )

    def pooled(encoded: Encoded) -> Tensor:
        states, mask = encoded.hidden.double().cpu(), encoded.mask.double().cpu()
        weights = mask
        if pooling != "mean":
            place = torch.zeros_like(mask[:, 0]) if pooling == "first" else mask.sum(1) - 1
            weights = torch.nn.functional.one_hot(place.long(), mask.shape[1]).double()
        means = (states * weights.unsqueeze(-1)).sum(1) / weights.sum(1, keepdim=True)
        return torch.nn.functional.normalize(means, dim=-1)

    return _read(asked, texts, max_length, pooled)


def label_probabilities(asked: Asked, texts: Sequence[str], max_length: int) -> Floats:
    """Probabilities (N, C) of the labels of texts.

    Args:
        asked: a classifier of texts.
        texts: cut at their end where they are too long.
        max_length: most tokens that are read, special ones included.

    Raises:
        UserError: it is no classifier.
    """
    if not asked.model.anatomy.has_labels or asked.model.outputs < 2:
        raise UserError(
            f"{asked.name} is a {asked.model.anatomy.architecture} with no labels of texts to "
            "choose from: give a classifier, such as the export of a fine-tuning."
        )

    def probabilities(encoded: Encoded) -> Tensor:
        first = torch.arange(len(encoded.mask), device=encoded.mask.device) * encoded.mask.shape[1]
        logits: Tensor = asked.model.logits(encoded.rows(first)).double().cpu()
        return logits.softmax(-1)

    return _read(asked, texts, max_length, probabilities)


def label_number(asked: Asked, label: str) -> int:
    """The number of a classifier's label.

    Raises:
        UserError: it has no such label.
    """
    if label not in asked.model.labels:
        raise UserError(
            f"{asked.name} has no label {label!r}; it has {', '.join(asked.model.labels)}."
        )
    return asked.model.labels.index(label)


@torch.no_grad()
def _read(
    asked: Asked, texts: Sequence[str], max_length: int, make: Callable[[Encoded], Tensor]
) -> Floats:
    """What is made of every text, in their order; equal texts are read once."""
    room = asked.room(max_length)
    ids = [tuple(asked.framed(encoding.ids[:room])) for encoding in asked.encoded(texts)]
    for text, own in zip(texts, ids, strict=True):
        if not own:
            raise UserError(f"{text!r} has no tokens for {asked.name}: leave it out.")
    known: dict[tuple[int, ...], Floats] = {}
    for part in batches(list(dict.fromkeys(ids))):
        made = make(asked.model.encode(padded(part, asked.device)))
        known |= dict(zip(part, made.numpy(), strict=True))
    return np.stack([known[own] for own in ids])
