"""Rows of the architecture table for decoders: GPT-2, and Llama with its kin.

Shapes: N rows, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from transformers import PretrainedConfig

from lit_distill.models.architectures.anatomy import Anatomy, Projection, as_it_is, uncapped


def _soft_cap(config: Any) -> float | None:
    """Gemma: logits are cap * tanh(logits / cap)."""
    cap: float | None = config.final_logit_softcapping
    return cap


def _granite_scale(model: Any, rows_ND: Tensor) -> Tensor:
    """Granite divides its logits, and so may what they are made of."""
    return rows_ND / float(model.config.logits_scaling)


_PROJECTIONS: dict[Projection, str] = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
}


def _llama(
    architecture: str,
    model_type: str,
    cap: Callable[[PretrainedConfig], float | None] = uncapped,
    transform: Callable[[Any, Tensor], Tensor] = as_it_is,
) -> Anatomy:
    """Llama and those who kept its names."""
    return Anatomy(
        architecture=architecture,
        model_type=model_type,
        inputs=("input_ids", "attention_mask", "position_ids"),
        embeddings_path="model.embed_tokens",
        layers_path="model.layers",
        projection_paths=_PROJECTIONS,
        norm_path="input_layernorm",
        lm_head_path="lm_head",
        head_prefixes=("lm_head.",),
        transform=transform,
        causal=True,
        auto_class="AutoModelForCausalLM",
        pipeline_tag="text-generation",
        cap=cap,
    )


DECODERS: tuple[Anatomy, ...] = (
    Anatomy(
        architecture="GPT2LMHeadModel",
        model_type="gpt2",
        inputs=("input_ids", "attention_mask", "position_ids"),
        embeddings_path="transformer.wte",
        layers_path="transformer.h",
        projection_paths=dict.fromkeys(("query", "key", "value"), "attn.c_attn"),
        norm_path="ln_1",
        lm_head_path="lm_head",
        head_prefixes=("lm_head.",),
        causal=True,
        auto_class="AutoModelForCausalLM",
        pipeline_tag="text-generation",
        intermediate_sizes=("n_inner",),
    ),
    _llama("LlamaForCausalLM", "llama"),
    _llama("MistralForCausalLM", "mistral"),
    _llama("Qwen2ForCausalLM", "qwen2"),
    _llama("Qwen3ForCausalLM", "qwen3"),
    _llama("GemmaForCausalLM", "gemma"),
    _llama("Gemma2ForCausalLM", "gemma2", _soft_cap),
    _llama("Gemma3ForCausalLM", "gemma3_text", _soft_cap),
    _llama("GraniteForCausalLM", "granite", transform=_granite_scale),
)
