"""Language-model heads of several models at once.

Shapes: N rows, D a model's width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import Tensor

from lit_distill.losses import Head
from lit_distill.models.body.language_model import LanguageModel

Result = TypeVar("Result")


def with_lm_heads(
    fn: Callable[[Sequence[Head]], Result],
    states: Sequence[tuple[LanguageModel, Tensor]],
    heads: Sequence[Head] = (),
) -> Result:
    """Calls `fn` where the weights of all heads are whole, one inside the other.

    Args:
        fn: gets a head of each model, in order.
        states: models and their last hidden states (N, D).
        heads: of models before them.
    """
    if not states:
        return fn(heads)
    (model, rows), *rest = states
    return model.with_lm_head(lambda head: with_lm_heads(fn, rest, [*heads, head]), rows)
