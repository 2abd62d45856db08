"""From a batch to what a body's own forward takes; texts that share a row do not see each other.

Shapes: B sequences, T padded length.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Anatomy


def named_inputs(anatomy: Anatomy, batch: Batch, view: str) -> dict[str, Any]:
    """The tensors of a view of the batch that the body reads, by the body's own names."""
    return {n: batch[view + n] for n in anatomy.inputs if view + n in batch}  # type: ignore[literal-required]


def body_inputs(
    model: PreTrainedModel, anatomy: Anatomy, batch: Batch, view: str
) -> dict[str, Any]:
    """The arguments of the body's forward: positions counted as it does, packed texts kept apart.

    Args:
        model: that reads.
        anatomy: of it.
        batch: see `LanguageModel.encode`.
        view: prefix of the batch keys to read.

    Raises:
        UserError: packed rows for an encoder-decoder, or for attention that would ignore them.
    """
    inputs = named_inputs(anatomy, batch, view)
    segments: Any = batch.get(f"{view}segments")
    if "position_ids" in inputs:
        inputs["position_ids"] = inputs["position_ids"] + anatomy.position_offset(model.config)
    if segments is not None:
        if anatomy.encoder_layers_path is not None:
            raise UserError("Packed rows (segments) are not supported for encoder-decoders.")
        inputs["attention_mask"] = _block_masks(segments, model, anatomy.causal)
    if anatomy.causal:
        inputs["use_cache"] = False  # no keys and values to generate with
    return inputs


def _block_masks(
    segments: Tensor, model: PreTrainedModel, causal: bool
) -> Tensor | dict[str, Tensor]:
    """Who may look where: (B, 1, T, T), as `_readable` has it; by type of layer if there are types.

    Padding sees padding, so that no row is empty. Sliding windows are counted as transformers
    counts them: both ends for encoders, the later one not for decoders.

    Args:
        segments: (B, T) number of each position's text in its row.
        model: that reads the row.
        causal: whether positions look back only.

    Raises:
        UserError: the model's attention takes no such masks.
    """
    places = torch.arange(segments.shape[1], device=segments.device)
    back = places.unsqueeze(1) - places
    seen: Tensor = segments.unsqueeze(2) == segments.unsqueeze(1)
    if causal:
        seen = seen & (back >= 0)
    window = getattr(model.config, "sliding_window", None)  # only configs that know of windows
    if window is None:
        return _readable(seen, model)
    near: Tensor = seen & ((back < window) if causal else (back.abs() <= window))
    if getattr(model.config, "layer_types", None) is None:
        return _readable(near, model)
    return {
        "full_attention": _readable(seen, model),
        "sliding_attention": _readable(near, model),
    }


def _readable(seen: Tensor, model: PreTrainedModel) -> Tensor:
    """A mask (B, T, T) as attention reads it: bool for SDPA, added to the scores for eager."""
    seen, implementation = seen.unsqueeze(1), model.config._attn_implementation
    if implementation == "sdpa":
        return seen
    if implementation == "eager":
        lowest = torch.finfo(model.dtype).min
        return torch.zeros_like(seen, dtype=model.dtype).masked_fill_(~seen, lowest)
    raise UserError(
        "Packed rows (segments) need attn_implementation='sdpa' or 'eager'; this model runs "
        f"{implementation!r}, which would ignore their borders."
    )
