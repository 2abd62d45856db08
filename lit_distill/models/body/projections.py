"""The queries, keys and values of one layer, and not a multiplication more.

Layers below run as they are; the layer itself runs its norm and its projections only, and nothing
above it runs. Heads, widths and what a loss on these tensors can train are known before a run.

Shapes: B sequences, T positions, W width of all heads side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Projection
from lit_distill.models.body.encoded import Site
from lit_distill.models.body.language_model import LanguageModel


def projections(
    model: LanguageModel, batch: Batch, layer: int, kinds: Sequence[Projection]
) -> dict[Projection, Tensor]:
    """The projections (B, T, W) of a layer by kind, biases included, before any rotation.

    Args:
        model: no encoder-decoder.
        batch: see `LanguageModel.encode`.
        layer: its number from 0.
        kinds: which.
    """
    captured = model.capture(batch, [Site(kind, layer) for kind in kinds])
    return {kind: captured[Site(kind, layer)] for kind in kinds}


def probe(
    model: LanguageModel, layer: int, kinds: Sequence[Projection]
) -> dict[Projection, Tensor]:
    """The projections (1, 2, W) of a text of two tokens, to see widths and what can be trained."""
    ids = torch.zeros(1, 2, dtype=torch.int64, device=next(model.parameters()).device)
    batch = Batch(input_ids=ids, attention_mask=torch.ones_like(ids))
    return projections(model, batch, layer, kinds)


def attention_heads(model: LanguageModel) -> dict[Projection, int]:
    """How many heads each projection has; keys and values have fewer where queries share them."""
    heads = int(model.config.num_attention_heads)
    groups = getattr(model.config, "num_key_value_heads", None)  # only configs that know of groups
    return {"query": heads, "key": groups or heads, "value": groups or heads}


def repeat_heads(shared: Tensor, heads: int, count: int) -> Tensor:
    """Keys or values whose every head is repeated until there are enough, as attention does.

    Args:
        shared: (B, T, heads x d).
        heads: how many there are.
        count: how many are wanted, a multiple of these.
    """
    if heads == count:
        return shared
    split = shared.reshape(*shared.shape[:2], heads, -1)
    return split.repeat_interleave(count // heads, -2).flatten(-2)


def check_layer(model: LanguageModel, layer: int | None, name: str) -> int:
    """The number from 0 of a layer that is numbered from 1 as papers do; None is the last.

    Args:
        model: whose.
        layer: its number from 1.
        name: of the option, for the message.

    Raises:
        UserError: there is no such layer, or the model reads two texts.
    """
    kind, count = type(model.model).__name__, len(model.layers)
    if model.reads_pairs:
        raise UserError(
            f"{kind} reads a source and a target, and relations are compared within one text: use "
            "an encoder (BERT, XLM-R, ModernBERT) or a decoder (GPT-2, Llama)."
        )
    if layer is None:
        return count - 1
    if not 1 <= layer <= count:
        raise UserError(
            f"{name}={layer} does not exist: {kind} has {count} layers, numbered 1 to {count}. "
            f"{count} is the last; upper middle ones suit large models."
        )
    return layer - 1


def check_same_causality(student: LanguageModel, teacher: LanguageModel) -> None:
    """Checks that positions of both see the same others.

    Raises:
        UserError: one is a decoder and the other an encoder.
    """
    if student.anatomy.causal != teacher.anatomy.causal:
        ours, theirs = (type(model.model).__name__ for model in (student, teacher))
        raise UserError(
            f"The student is a {ours} and the teacher a {theirs}: only one of them sees later "
            "positions, so their relations cannot be equal. Use two encoders or two decoders."
        )
