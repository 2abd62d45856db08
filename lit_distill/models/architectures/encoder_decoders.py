"""Rows of the architecture table for encoder-decoders: T5 and BART with their kin.

MBart and M2M-100 (which NLLB is) are kin of BART whose norms come first in a layer.

Shapes: N rows, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from lit_distill.models.architectures.anatomy import Anatomy, Projection, as_it_is, no_bias

_PROJECTIONS: dict[Projection, str] = {
    kind: f"self_attn.{kind[0]}_proj" for kind in ("query", "key", "value")
}


def _t5_stacks(model: Any, inputs: dict[str, Any]) -> Tensor:
    """T5 has no module for both stacks without the head."""
    source = inputs.get("encoder_outputs")
    if source is None:
        source = model.encoder(inputs["input_ids"], attention_mask=inputs["attention_mask"])
    decoded = model.decoder(
        inputs["decoder_input_ids"],
        attention_mask=inputs.get("decoder_attention_mask"),
        encoder_hidden_states=source[0],
        encoder_attention_mask=inputs["attention_mask"],
        past_key_values=inputs.get("past_key_values"),
        use_cache=inputs["use_cache"],
    )
    states: Tensor = decoded.last_hidden_state
    return states


def _final_logits_bias(model: Any) -> Tensor | None:
    bias: Tensor = model.final_logits_bias[0]
    return bias


def _t5_scale(model: Any, rows_ND: Tensor) -> Tensor:
    return rows_ND * model.model_dim**-0.5 if model.config.scale_decoder_outputs else rows_ND


def _targets_mask(model: Any, inputs: Mapping[str, Any]) -> Tensor:
    del model
    mask: Tensor = inputs["decoder_attention_mask"]
    return mask


_SEQ2SEQ_INPUTS = (
    "input_ids",
    "attention_mask",
    "decoder_input_ids",
    "decoder_attention_mask",
)


def _t5(architecture: str, model_type: str, transform: Callable[[Any, Tensor], Tensor]) -> Anatomy:
    """T5; its positions are distances, so that no text is too long."""
    return Anatomy(
        architecture=architecture,
        model_type=model_type,
        inputs=_SEQ2SEQ_INPUTS,
        embeddings_path="shared",
        layers_path="decoder.block",
        projection_paths={
            "query": "layer.0.SelfAttention.q",
            "key": "layer.0.SelfAttention.k",
            "value": "layer.0.SelfAttention.v",
        },
        norm_path="layer.0.layer_norm",
        lm_head_path="lm_head",
        head_prefixes=("lm_head.",),
        transform=transform,
        causal=True,
        auto_class="AutoModelForSeq2SeqLM",
        pipeline_tag="text2text-generation",
        run=_t5_stacks,
        mask=_targets_mask,
        layer_count="num_decoder_layers",
        intermediate_sizes=("d_ff",),
        position_table=None,
        encoder_layers_path="encoder.block",
        encoder_layer_count="num_layers",
    )


_NORM_FIRST = "self_attn_layer_norm"
_MARIAN_POSITIONS = ("model.encoder.embed_positions", "model.decoder.embed_positions")


def _bart(
    architecture: str,
    model_type: str,
    pipeline_tag: str = "text2text-generation",
    computed: tuple[str, ...] = (),
    norm_path: str | None = None,
) -> Anatomy:
    """BART and those who kept its names."""
    return Anatomy(
        architecture=architecture,
        model_type=model_type,
        inputs=_SEQ2SEQ_INPUTS,
        embeddings_path="model.shared",
        layers_path="model.decoder.layers",
        projection_paths=_PROJECTIONS,
        norm_path=norm_path,
        lm_head_path="lm_head",
        head_prefixes=("lm_head.", "final_logits_bias"),
        causal=True,
        auto_class="AutoModelForSeq2SeqLM",
        pipeline_tag=pipeline_tag,
        mask=_targets_mask,
        logit_bias=_final_logits_bias,
        layer_count="decoder_layers",
        intermediate_sizes=("encoder_ffn_dim", "decoder_ffn_dim"),
        computed=computed,
        spares={"model.shared.weight": "model.encoder.embed_tokens.weight"},
        encoder_layers_path="model.encoder.layers",
        encoder_layer_count="encoder_layers",
    )


ENCODER_DECODERS: tuple[Anatomy, ...] = (
    _t5("T5ForConditionalGeneration", "t5", _t5_scale),
    _t5("MT5ForConditionalGeneration", "mt5", as_it_is),
    _bart("BartForConditionalGeneration", "bart"),
    _bart("MarianMTModel", "marian", "translation", computed=_MARIAN_POSITIONS),
    _bart("MBartForConditionalGeneration", "mbart", "translation", norm_path=_NORM_FIRST),
    replace(
        _bart("M2M100ForConditionalGeneration", "m2m_100", "translation", norm_path=_NORM_FIRST),
        head_prefixes=("lm_head.",),
        logit_bias=no_bias,
        counts_from_padding=True,
    ),
)
