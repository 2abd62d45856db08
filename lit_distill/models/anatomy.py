"""Where the organs of each supported architecture are: one row per architecture.

Paths are dotted names for `torch.nn.Module.get_submodule`, looked up when asked, so that a replaced
module (trimmed embeddings, sharded layers) is found as well. Everything that differs between
architectures is a column of this table; nothing else in the project asks which model it has.

Shapes: N rows, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import transformers
from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers import PretrainedConfig, PreTrainedModel

from lit_distill.errors import UserError

Projection = Literal["query", "key", "value"]


def _no_offset(config: PretrainedConfig) -> int:
    del config
    return 0


def _uncapped(config: PretrainedConfig) -> float | None:
    del config
    return None


def _soft_cap(config: Any) -> float | None:
    """Gemma: logits are cap * tanh(logits / cap)."""
    return cast(float | None, config.final_logit_softcapping)


def _as_it_is(model: Any, rows_ND: Tensor) -> Tensor:
    del model
    return rows_ND


def _after_padding(config: PretrainedConfig) -> int:
    """RoBERTa counts positions from the padding index + 1 (fairseq's `make_positions`)."""
    return int(config.pad_token_id) + 1


@dataclass(frozen=True)
class Anatomy:
    """One architecture: what it reads and where its organs are.

    Attributes:
        architecture: the Hugging Face class with its language-model head (config.architectures).
        model_type: config.model_type.
        inputs: batch keys that the body takes.
        layers_path: the list of layers.
        embeddings_path: the module from ids to the first layer's input.
        projection_paths: inside a layer, the modules whose outputs (B, T, width) are q, k and v,
            before any rotation and with all heads side by side; one and the same module where it
            makes all three, side by side in this order and of equal width.
        decoder_path: the linear map to the vocabulary; weight (V, D), bias (V,) or None.
        head_prefixes: how the names of head weights begin.
        transform: (model, last hidden states (N, D)) -> what the decoder reads (N, D).
        causal: a position sees only those before it, and predicts the next token.
        cap: the config's limit c of logits, c tanh(logits / c); None where there is none.
        intermediate_size: the config's name for the width of the feed-forward block.
        position_offset: the table index of the first token's position.
    """

    architecture: str
    model_type: str
    inputs: tuple[str, ...]
    embeddings_path: str
    layers_path: str
    projection_paths: dict[Projection, str]
    decoder_path: str
    head_prefixes: tuple[str, ...]
    transform: Callable[[Any, Tensor], Tensor] = _as_it_is
    causal: bool = False
    cap: Callable[[PretrainedConfig], float | None] = _uncapped
    intermediate_size: str = "intermediate_size"
    position_offset: Callable[[PretrainedConfig], int] = _no_offset

    def model_class(self) -> type[PreTrainedModel]:
        """The Hugging Face class of this architecture."""
        return cast(type[PreTrainedModel], getattr(transformers, self.architecture))

    def embeddings(self, model: PreTrainedModel) -> nn.Module:
        """The module from token ids (B, T) to the first layer's input (B, T, D)."""
        return cast(nn.Module, model.get_submodule(self.embeddings_path))

    def layers(self, model: PreTrainedModel) -> nn.ModuleList:
        """The layers, first to last."""
        return cast(nn.ModuleList, model.get_submodule(self.layers_path))

    def projection(self, model: PreTrainedModel, layer: int, kind: Projection) -> nn.Module:
        """The module whose output (B, T, width), or a third of it, is q, k or v of one layer."""
        return self.layers(model)[layer].get_submodule(self.projection_paths[kind])

    def projected(self, output: Tensor, kind: Projection) -> Tensor:
        """q, k or v (B, T, width) in the output of `projection`."""
        if len(set(self.projection_paths.values())) == 3:
            return output
        return output.chunk(3, dim=-1)[list(self.projection_paths).index(kind)]

    def decoder(self, model: PreTrainedModel) -> nn.Linear:
        """The map to the vocabulary, after `transform`."""
        return cast(nn.Linear, model.get_submodule(self.decoder_path))

    def max_length(self, config: PretrainedConfig) -> int:
        """The longest sequence, in tokens, that the position table holds."""
        return int(config.max_position_embeddings) - self.position_offset(config)


def _bert_transform(model: Any, rows_ND: Tensor) -> Tensor:
    return cast(Tensor, model.cls.predictions.transform(rows_ND))


def _distilbert_transform(model: Any, rows_ND: Tensor) -> Tensor:
    rows_ND = model.activation(model.vocab_transform(rows_ND))
    return cast(Tensor, model.vocab_layer_norm(rows_ND))


def _roberta_transform(model: Any, rows_ND: Tensor) -> Tensor:
    return cast(Tensor, model.lm_head.layer_norm(gelu(model.lm_head.dense(rows_ND))))


def _modernbert_transform(model: Any, rows_ND: Tensor) -> Tensor:
    return cast(Tensor, model.head(rows_ND))


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
    cap: Callable[[PretrainedConfig], float | None] = _uncapped,
) -> Anatomy:
    """Llama and those who kept its names."""
    return Anatomy(
        architecture=architecture,
        model_type=model_type,
        inputs=("input_ids", "attention_mask", "position_ids"),
        embeddings_path="model.embed_tokens",
        layers_path="model.layers",
        projection_paths=_PROJECTIONS,
        decoder_path="lm_head",
        head_prefixes=("lm_head.",),
        causal=True,
        cap=cap,
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
        intermediate_size="hidden_dim",
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
        decoder_path="lm_head",
        head_prefixes=("lm_head.",),
        causal=True,
        intermediate_size="n_inner",
    ),
    _llama("LlamaForCausalLM", "llama"),
    _llama("MistralForCausalLM", "mistral"),
    _llama("Qwen2ForCausalLM", "qwen2"),
    _llama("Qwen3ForCausalLM", "qwen3"),
    _llama("GemmaForCausalLM", "gemma"),
    _llama("Gemma2ForCausalLM", "gemma2", _soft_cap),
    _llama("Gemma3ForCausalLM", "gemma3_text", _soft_cap),
)


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
