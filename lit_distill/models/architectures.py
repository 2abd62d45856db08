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
from lit_distill.models.anatomy import Anatomy, Projection, as_it_is, uncapped


def _soft_cap(config: Any) -> float | None:
    """Gemma: logits are cap * tanh(logits / cap)."""
    return cast(float | None, config.final_logit_softcapping)


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
    return cast(Tensor, decoded.last_hidden_state)


def _final_logits_bias(model: Any) -> Tensor | None:
    return cast(Tensor, model.final_logits_bias[0])


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


def _t5_scale(model: Any, rows_ND: Tensor) -> Tensor:
    return rows_ND * model.model_dim**-0.5 if model.config.scale_decoder_outputs else rows_ND


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
        decoder_path="lm_head.decoder",
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
        decoder_path="lm_head",
        head_prefixes=("lm_head.",),
        transform=transform,
        causal=True,
        cap=cap,
    )


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
        decoder_path="lm_head",
        head_prefixes=("lm_head.",),
        transform=transform,
        causal=True,
        run=_t5_stacks,
        layer_count="num_decoder_layers",
        intermediate_sizes=("d_ff",),
        position_table=None,
        encoder_layers_path="encoder.block",
        encoder_layer_count="num_layers",
    )


_MARIAN_POSITIONS = ("model.encoder.embed_positions", "model.decoder.embed_positions")


def _bart(architecture: str, model_type: str, computed: tuple[str, ...] = ()) -> Anatomy:
    """BART and those who kept its names."""
    return Anatomy(
        architecture=architecture,
        model_type=model_type,
        inputs=_SEQ2SEQ_INPUTS,
        embeddings_path="model.shared",
        layers_path="model.decoder.layers",
        projection_paths=_PROJECTIONS,
        decoder_path="lm_head",
        head_prefixes=("lm_head.", "final_logits_bias"),
        causal=True,
        logit_bias=_final_logits_bias,
        layer_count="decoder_layers",
        intermediate_sizes=("encoder_ffn_dim", "decoder_ffn_dim"),
        computed=computed,
        spares={"model.shared.weight": "model.encoder.embed_tokens.weight"},
        encoder_layers_path="model.encoder.layers",
        encoder_layer_count="encoder_layers",
    )


ANATOMIES: tuple[Anatomy, ...] = (
    Anatomy(
        architecture="BertForMaskedLM",
        model_type="bert",
        inputs=("input_ids", "attention_mask", "position_ids", "token_type_ids"),
        embeddings_path="bert.embeddings",
        layers_path="bert.encoder.layer",
        projection_paths=_SELF_ATTENTION,
        transform=_bert_transform,
        decoder_path="cls.predictions.decoder",
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
        decoder_path="vocab_projector",
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
        decoder_path="decoder",
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
        decoder_path="lm_head",
        head_prefixes=("lm_head.",),
        causal=True,
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
    _t5("T5ForConditionalGeneration", "t5", _t5_scale),
    _t5("MT5ForConditionalGeneration", "mt5", as_it_is),
    _bart("BartForConditionalGeneration", "bart"),
    _bart("MarianMTModel", "marian", computed=_MARIAN_POSITIONS),
)

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


def anatomy_of_type(model_type: str) -> Anatomy:
    """The row of a config.model_type.

    Raises:
        UserError: there is none; the message names those there are.
    """
    for anatomy in ANATOMIES:
        if anatomy.model_type == model_type:
            return anatomy
    supported = ", ".join(anatomy.model_type for anatomy in ANATOMIES)
    raise UserError(
        f"The model type {model_type!r} is not supported: lit_distill does not know where its "
        f"layers and its language-model head are. Supported: {supported}."
    )
