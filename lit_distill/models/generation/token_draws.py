"""One token out of a distribution, by one number that is drawn for it beforehand.

The number is a function of (seed, text, position) alone. So which texts are written together, on
how many ranks and in which order does not change a text, up to rounding of the logits.

Shapes: B texts, N positions, R rows, V vocabulary.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from lit_distill.counter_random import Purpose, key, uniform, words
from lit_distill.errors import UserError

_BLOCK = 256  # probabilities that are added up before the place inside is looked for


def uniforms(seed: int, numbers: Tensor, count: int) -> Tensor:
    """Numbers in (0, 1) for the positions of texts: (B, `count`) float64, on the CPU.

    Args:
        seed: of all texts.
        numbers: of the texts (B,), not negative.
        count: N.
    """
    keys = key(seed, Purpose.SAMPLING, numbers.cpu().numpy())
    return torch.from_numpy(uniform(words(keys[:, None], np.arange(count)[None, :])))


def choose(
    logits: Tensor, numbers: Tensor, temperature: float, top_k: int = 0, top_p: float = 1.0
) -> Tensor:
    """Token ids (R,) out of logits (R, V).

    Args:
        logits: of any floating type; probabilities are computed in at least float32.
        numbers: in (0, 1), one for each row (R,).
        temperature: divides the logits; 0 takes the likeliest token.
        top_k: keeps so many likeliest tokens, and those as likely as the last of them; 0: all.
        top_p: then keeps the fewest likeliest tokens that together have this probability.

    Raises:
        UserError: a row is no distribution: NaN or +inf in it, or -inf everywhere.
    """
    if temperature == 0:
        likeliest = logits.argmax(-1, keepdim=True)  # the NaN, where there is one
        _check(logits.gather(-1, likeliest).isfinite())
        return likeliest.squeeze(-1)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    if 0 < top_k < logits.shape[-1]:
        lowest = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < lowest, -torch.inf)
    probabilities = logits.softmax(-1)
    if top_p < 1:
        sorted_, places = probabilities.sort(descending=True, stable=True)
        before = sorted_.cumsum(-1) - sorted_
        probabilities = probabilities.scatter(-1, places, sorted_.masked_fill(before >= top_p, 0))
    return _invert(probabilities, numbers)


def _invert(probabilities: Tensor, numbers: Tensor) -> Tensor:
    """Where the cumulated probabilities (R, V), not necessarily of sum 1, pass `numbers`.

    In float64, but only for the sums of blocks and inside one block: V numbers are read once.
    """
    short = -probabilities.shape[-1] % _BLOCK
    blocks = pad(probabilities, (0, short)).view(len(probabilities), -1, _BLOCK)
    ends = blocks.sum(-1, dtype=torch.float64).cumsum(-1)
    _check(ends[:, -1:].isfinite())
    target = _below_end(ends[:, -1:] * numbers.unsqueeze(-1), ends)
    block = (ends <= target).sum(-1, keepdim=True)
    start = pad(ends, (1, 0)).gather(-1, block)
    inside = blocks.gather(1, block.unsqueeze(-1).expand(-1, 1, _BLOCK)).squeeze(1)
    inside = inside.to(torch.float64).cumsum(-1)
    place = (inside <= _below_end(target - start, inside)).sum(-1, keepdim=True)
    found: Tensor = block * _BLOCK + place
    return found.squeeze(-1)


def _check(sound: Tensor) -> None:
    if not bool(sound.all()):
        raise UserError(
            f"{int((~sound).sum())} of {len(sound)} texts cannot be written: the logits of their "
            "next token are NaN, +inf, or all -inf. The weights of the model that writes are "
            "broken (it has diverged, or its file holds NaN): start from sound ones."
        )


def _below_end(target: Tensor, ends: Tensor) -> Tensor:
    """Keeps a target below the last sum, where rounding took it there: a token of positive mass."""
    return torch.minimum(target, ends[:, -1:] * (1 - 2.0**-52))
