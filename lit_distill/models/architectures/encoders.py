"""Rows of the architecture table for encoders with a masked-language-model head.

Shapes: N rows, D hidden size.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import gelu
from transformers import PretrainedConfig

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Anatomy, Projection


def _after_padding(config: PretrainedConfig) -> int:
    """RoBERTa counts positions from the padding index + 1 (fairseq's `make_positions`)."""
    return int(config.pad_token_id) + 1


def _bert_transform(model: Any, rows_ND: Tensor) -> Tensor:
    rows: Tensor = model.cls.predictions.transform(rows_ND)
    return rows


def _distilbert_transform(model: Any, rows_ND: Tensor) -> Tensor:
    rows_ND = model.activation(model.vocab_transform(rows_ND))
    rows: Tensor = model.vocab_layer_norm(rows_ND)
    return rows


def _roberta_transform(model: Any, rows_ND: Tensor) -> Tensor:
    rows: Tensor = model.lm_head.layer_norm(gelu(model.lm_head.dense(rows_ND)))
    return rows


def _electra_transform(model: Any, rows_ND: Tensor) -> Tensor:
    """Rows (N, e) as wide as the embeddings, which the decoder is tied to."""
    rows: Tensor = model.generator_predictions(rows_ND)
    return rows


def _albert_transform(model: Any, rows_ND: Tensor) -> Tensor:
    """Rows (N, e) as wide as the embeddings, which the decoder is tied to."""
    head = model.predictions
    rows: Tensor = head.LayerNorm(head.activation(head.dense(rows_ND)))
    return rows


def albert_order(config: Any) -> list[int]:
    """Which group of layers runs at each depth: neighbours share one, as evenly as can be.

    Raises:
        UserError: a group has several layers, so that no number is that of a layer.
    """
    if config.inner_group_num != 1:
        raise UserError(
            f"The ALBERT has {config.inner_group_num} layers in each group (inner_group_num): only "
            "groups of one layer are supported, as all released models have them."
        )
    count = config.num_hidden_layers
    return [int(depth / (count / config.num_hidden_groups)) for depth in range(count)]


def _modernbert_transform(model: Any, rows_ND: Tensor) -> Tensor:
    rows: Tensor = model.head(rows_ND)
    return rows


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


ENCODERS: tuple[Anatomy, ...] = (
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
        architecture="ElectraForMaskedLM",
        model_type="electra",
        inputs=("input_ids", "attention_mask", "position_ids", "token_type_ids"),
        embeddings_path="electra.embeddings",
        layers_path="electra.encoder.layer",
        projection_paths=_SELF_ATTENTION,
        transform=_electra_transform,
        lm_head_path="generator_lm_head",
        head_prefixes=("generator_predictions.", "generator_lm_head."),
    ),
    Anatomy(
        architecture="AlbertForMaskedLM",
        model_type="albert",
        inputs=("input_ids", "attention_mask", "position_ids", "token_type_ids"),
        embeddings_path="albert.embeddings",
        layers_path="albert.encoder.albert_layer_groups",
        layer_order=albert_order,
        projection_paths={
            "query": "albert_layers.0.attention.query",
            "key": "albert_layers.0.attention.key",
            "value": "albert_layers.0.attention.value",
        },
        transform=_albert_transform,
        lm_head_path="predictions.decoder",
        head_prefixes=("predictions.",),
        spares={"predictions.bias": "predictions.decoder.bias"},
    ),
)
