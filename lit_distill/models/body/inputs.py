"""From a batch to what a body's own forward takes.

Shapes: B sequences, T padded length.
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Anatomy
from lit_distill.models.body.packing import block_masks


def named_inputs(anatomy: Anatomy, batch: Batch, view: str) -> dict[str, Any]:
    """The tensors of a view of the batch that the body reads, by the body's own names."""
    return {n: batch[view + n] for n in anatomy.inputs if view + n in batch}  # type: ignore[literal-required]


def body_inputs(
    config: PretrainedConfig, anatomy: Anatomy, batch: Batch, view: str
) -> dict[str, Any]:
    """The arguments of the body's forward: positions counted as it does, packed texts kept apart.

    Args:
        config: of the model that reads.
        anatomy: of it.
        batch: see `LanguageModel.encode`.
        view: prefix of the batch keys to read.

    Raises:
        UserError: packed rows for an encoder-decoder, or for attention that would ignore them.
    """
    inputs = named_inputs(anatomy, batch, view)
    segments: Any = batch.get(f"{view}segments")
    if "position_ids" in inputs:
        inputs["position_ids"] = inputs["position_ids"] + anatomy.position_offset(config)
    if segments is not None:
        if anatomy.encoder_layers_path is not None:
            raise UserError("Packed rows (segments) are not supported for encoder-decoders.")
        inputs["attention_mask"] = block_masks(segments, config, anatomy.causal)
    if anatomy.causal:
        inputs["use_cache"] = False  # no keys and values to generate with
    return inputs
