"""Attention confined to each of several texts that share a row."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PretrainedConfig

from lit_distill.errors import UserError


def block_masks(
    segments: Tensor, config: PretrainedConfig, causal: bool
) -> Tensor | dict[str, Tensor]:
    """Who may look where: (B, 1, T, T) bool; by type of layer if the model has types.

    Padding sees padding, so that no row is empty. Sliding windows are counted as transformers
    counts them: both ends for encoders, the later one not for decoders.

    Args:
        segments: (B, T) number of each position's text in its row.
        config: of the model that reads the row.
        causal: whether positions look back only.

    Raises:
        UserError: the model's attention takes no such masks.
    """
    if config._attn_implementation != "sdpa":
        raise UserError(
            "Packed rows (segments) need attn_implementation='sdpa'; this model runs "
            f"{config._attn_implementation!r}, which would ignore their borders."
        )
    places = torch.arange(segments.shape[1], device=segments.device)
    back = places.unsqueeze(1) - places
    seen: Tensor = segments.unsqueeze(2) == segments.unsqueeze(1)
    if causal:
        seen = seen & (back >= 0)
    window = getattr(config, "sliding_window", None)  # only configs that know of windows
    if window is None:
        return seen.unsqueeze(1)
    near: Tensor = seen & ((back < window) if causal else (back.abs() <= window))
    if getattr(config, "layer_types", None) is None:
        return near.unsqueeze(1)
    return {"full_attention": seen.unsqueeze(1), "sliding_attention": near.unsqueeze(1)}
