"""What heads say: those of several models at once, and of one about the decisions of a task.

Shapes: N rows, V outputs, D decisions among C options; of hidden states, D is a model's width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from lit_distill.batch import LabelledBatch
from lit_distill.losses import Head
from lit_distill.models.body.encoded import Encoded
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


def decision_logits(
    model: LanguageModel, batch: LabelledBatch, encoded: Encoded, rows: Tensor | None = None
) -> Tensor:
    """Logits (D, C) of every decision of a batch; of regression the numbers (N, 1).

    Args:
        model: with a head; of regression, of multiple choice and of spans as of labels.
        batch: of a task: its `rows`, and its `options` where there are any.
        encoded: what the model made of it.
        rows: flat positions (N,) in the view that was encoded; None: those of the batch.
    """
    states = encoded.rows(batch["rows"] if rows is None else rows)
    return decided(model.logits(states), batch)


def decided(logits: Tensor, batch: LabelledBatch) -> Tensor:
    """Logits (D, C) of decisions, of the logits (N, V) of a batch's rows.

    Where a decision has fewer options than C, they are finite and so low that their probability
    is 0, and their gradient too.
    """
    if "options" not in batch:
        return logits
    options = batch["options"]
    found = logits.flatten().index_select(0, options.clamp(min=0).flatten()).view_as(options)
    return found.masked_fill(options < 0, torch.finfo(logits.dtype).min / 64)


def _and_one_more(heads: list[Head], call: Callable[[], Result], head: Head) -> Result:
    """Goes on with a head that has just become whole."""
    heads.append(head)
    return call()
