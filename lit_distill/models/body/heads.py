"""Language-model heads of several models at once.

Shapes: N rows, D a model's width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from torch import Tensor

from lit_distill.losses import Head
from lit_distill.models.body.language_model import LanguageModel

Result = TypeVar("Result")


def with_lm_heads(
    fn: Callable[[Sequence[Head]], Result], states: Sequence[tuple[LanguageModel, Tensor]]
) -> Result:
    """Calls `fn` where the weights of all heads are whole and live.

    Args:
        fn: gets a head of each model, in order.
        states: models and their last hidden states (N, D).
    """
    heads: list[Head] = []
    call = partial(fn, heads)
    # Weights in pieces (FSDP2) are whole during a call of their model only: `fn` is called in the
    # call of the last model, which is made in that of the model before it, and so on.
    for model, rows in reversed(states):
        call = partial(model.with_lm_head, partial(_and_one_more, heads, call), rows)
    return call()


def _and_one_more(heads: list[Head], call: Callable[[], Result], head: Head) -> Result:
    """Goes on with a head that has just become whole."""
    heads.append(head)
    return call()
