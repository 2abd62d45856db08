"""Where the organs of each supported architecture are: one row per architecture; see `Anatomy`.

Shapes: N rows, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor
from torch.nn.functional import gelu
from transformers import PretrainedConfig

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Anatomy, Projection, as_it_is, uncapped
from lit_distill.models.architectures.encoder_decoders import ENCODER_DECODERS
from lit_distill.models.architectures.headless import headless_rows


def _soft_cap(config: Any) -> float | None:
    """Gemma: logits are cap * tanh(logits / cap)."""
    return cast(float | None, config.final_logit_softcapping)


def _after_padding(config: PretrainedConfig) -> int:
    """RoBERTa counts positions from the padding index + 1 (fairseq's `make_positions`)."""
    return int(config.pad_token_id) + 1


def _bert_transform(model: Any, rows_ND: Tensor) -> Tensor:
    return cast(Tensor, model.cls.predictions.transform(rows_ND))


def _distilbert_transform(model: Any, rows_ND: Tensor) -> Tensor:
    rows_ND = model.activation(model.vocab_transform(rows_ND))
    return cast(Tensor, model.vocab_layer_norm(rows_ND))


def _roberta_transform(model: Any, rows_ND: Tensor) -> Tensor:
    return cast(Tensor, model.lm_head.layer_norm(gelu(model.lm_head.dense(rows_ND))))


def _modernbert_transform(model: Any, rows_ND: Tensor) -> Tensor:
    return cast(Tensor, model.head(rows_ND))


def _granite_scale(model: Any, rows_ND: Tensor) -> Tensor:
    """Granite divides its logits, and so may what they are made of."""
    return rows_ND / float(model.config.logits_scaling)


_SELF_ATTENTION: dict[Projection, str] = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
}


def _roberta(architecture: str, model_type: str) -> Anatomy:
    return Anatomy(
        architecture=architecture,
        model_type=model_type,
        inputs=("input_ids", "attention_mask", "position_ids"),
        embeddings_path="roberta.embeddings",
        layers_path="roberta.encoder.layer",
        projection_paths=_SELF_ATTENTION,
        transform=_roberta_transform,
        lm_head_path="lm_head.decoder",
        head_prefixes=("lm_head.",),
        spares={"lm_head.bias": "lm_head.decoder.bias"},
        position_offset=_after_padding,
    )


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


_WITH_HEADS: tuple[Anatomy, ...] = (
    Anatomy(
        architecture="BertForMaskedLM",
        model_type="bert",
        inputs=("input_ids", "attention_mask", "position_ids", "token_type_ids"),
        embeddings_path="bert.embeddings",
        layers_path="bert.encoder.layer",
        projection_paths=_SELF_ATTENTION,
        transform=_bert_transform,
        lm_head_path="cls.predictions.decoder",
        head_prefixes=("cls.predictions.",),
        spares={"cls.predictions.bias": "cls.predictions.decoder.bias"},
    ),
    Anatomy(
        architecture="DistilBertForMaskedLM",
        model_type="distilbert",
        inputs=("input_ids", "attention_mask", "position_ids"),
        embeddings_path="distilbert.embeddings",
        layers_path="distilbert.transformer.layer",
        projection_paths={
            "query": "attention.q_lin",
            "key": "attention.k_lin",
            "value": "attention.v_lin",
        },
        transform=_distilbert_transform,
        lm_head_path="vocab_projector",
        head_prefixes=("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
        intermediate_sizes=("hidden_dim",),
    ),
    _roberta("RobertaForMaskedLM", "roberta"),
    _roberta("XLMRobertaForMaskedLM", "xlm-roberta"),
    Anatomy(
        architecture="ModernBertForMaskedLM",
        model_type="modernbert",
        inputs=("input_ids", "attention_mask", "position_ids"),
        embeddings_path="model.embeddings",
        layers_path="model.layers",
        projection_paths=dict.fromkeys(("query", "key", "value"), "attn.Wqkv"),
        norm_path="attn_norm",
        transform=_modernbert_transform,
        lm_head_path="decoder",
        head_prefixes=("head.", "decoder."),
    ),
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
    *ENCODER_DECODERS,
)

ANATOMIES: tuple[Anatomy, ...] = (*_WITH_HEADS, *headless_rows(_WITH_HEADS))

TEXT_PARTS: dict[str, tuple[str, dict[str, str]]] = {
    "gemma3": (
        "gemma3_text",
        {
            r"^(model\.)?language_model\.(model\.)?(?!lm_head)": "model.",
            r"^language_model\.lm_head": "lm_head",
        },
    ),
}
"""Types that read other media as well: the type of their text model, and its names of weights."""


def anatomy_of(architecture: str) -> Anatomy:
    """The row of a Hugging Face class name.

    Raises:
        UserError: there is none; the message names those there are.
    """
    for anatomy in ANATOMIES:
        if anatomy.architecture == architecture:
            return anatomy
    supported = ", ".join(anatomy.architecture for anatomy in ANATOMIES)
    raise UserError(
        f"The architecture {architecture} is not supported: lit_distill does not know where its "
        f"layers and its language-model head are. Supported: {supported}."
    )


def anatomy_of_type(model_type: str, has_head: bool = True) -> Anatomy:
    """The row of a config.model_type.

    Args:
        model_type: "bert", "llama", ...
        has_head: of the class with a language-model head, or else of its body alone.

    Raises:
        UserError: there is none; the message names those there are.
    """
    rows = [anatomy for anatomy in ANATOMIES if anatomy.has_head == has_head]
    for anatomy in rows:
        if anatomy.model_type == model_type:
            return anatomy
    supported = ", ".join(anatomy.model_type for anatomy in rows)
    raise UserError(
        f"The model type {model_type!r} is not supported: lit_distill does not know where its "
        f"layers and its language-model head are. Supported: {supported}."
    )
