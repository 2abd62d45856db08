"""Log-probabilities of tokens at places of a text: what all questions to language models end in.

Equal texts are read once, however many tokens are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lit_distill.batch import Batch
from lit_distill.models import LanguageModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
POSITIONS = 8192
"""Of a batch, padding included."""
ROWS = 256
"""Logits of so many rows are held at a time."""


@dataclass(frozen=True)
class Guess:
    """Tokens that are to be guessed.

    Attributes:
        ids: what is read, special tokens included.
        places: of `ids`, at which the model guesses: a mask, or what stands before the token.
        targets: the token that is guessed at each place.
    """

    ids: tuple[int, ...]
    places: tuple[int, ...]
    targets: tuple[int, ...]


@torch.no_grad()
def log_probabilities(model: LanguageModel, guesses: Sequence[Guess]) -> Floats:
    """Log-probability (G,) of every guess in nats: the sum over its places.

    Args:
        model: a language model, in eval mode.
        guesses: none longer than the model reads.
    """
    asked: dict[tuple[int, ...], list[int]] = {}
    for number, guess in enumerate(guesses):
        asked.setdefault(guess.ids, []).append(number)
    found = np.zeros(len(guesses))
    for texts in batches(list(asked)):
        own = [
            (row, place, target, number)
            for row, ids in enumerate(texts)
            for number in asked[ids]
            for place, target in zip(guesses[number].places, guesses[number].targets, strict=True)
        ]
        rows, places, targets, numbers = np.array(own, dtype=np.int64).T
        batch = padded(texts, next(model.parameters()).device)
        flat = rows * batch["input_ids"].shape[1] + places
        np.add.at(found, numbers, _picked(model, batch, flat, targets))
    return found


def batches(texts: Sequence[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """Texts of like lengths together, the longest first."""
    part: list[tuple[int, ...]] = []
    for ids in sorted(texts, key=len, reverse=True):
        if part and (len(part) + 1) * len(part[0]) > POSITIONS:
            yield part
            part = []
        part.append(ids)
    if part:
        yield part


def padded(texts: Sequence[tuple[int, ...]], device: torch.device) -> Batch:
    """What a model reads (B, T), padded on the right."""
    width = max(map(len, texts))
    ids, mask = (torch.zeros(len(texts), width, dtype=torch.int64) for _ in range(2))
    for row, own in enumerate(texts):
        ids[row, : len(own)] = torch.tensor(own)
        mask[row, : len(own)] = 1
    return Batch(input_ids=ids.to(device), attention_mask=mask.to(device))


def _picked(model: LanguageModel, batch: Batch, flat: Ints, targets: Ints) -> Floats:
    """Log-probabilities (N,) of targets at flat positions; each position's logits exist once."""
    encoded = model.encode(batch)
    rows, owner = np.unique(flat, return_inverse=True)
    picked = np.zeros(len(flat))
    for start in range(0, len(rows), ROWS):
        places = torch.from_numpy(rows[start : start + ROWS]).to(encoded.hidden.device)
        log_p = model.logits(encoded.rows(places)).float().log_softmax(-1).cpu().numpy()
        here = (owner >= start) & (owner < start + ROWS)
        picked[here] = log_p[owner[here] - start, targets[here]]
    return picked
