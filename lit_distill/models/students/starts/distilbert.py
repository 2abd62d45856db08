"""A BERT's weights as a DistilBERT's.

What is copied, and how it is called: huggingface transformers-research-projects@fccd0cd,
distillation/scripts/extract_distilbert.py. Two differences, both on purpose: the head's transform
is always copied; and token type 0, which DistilBERT lacks, is added to its position table instead
of being dropped (dropping it shifts every embedding by a constant vector).
"""

from __future__ import annotations

import re

import torch
from torch import Tensor
from transformers import DistilBertConfig

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Predicted
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.students.starts.carving import labels_of

_DISTILBERT_EPS = 1e-12  # a constant in DistilBERT's code, not in its config

_DISTILBERT_NAMES = (  # of a BERT with a head; those of its body alone lack the first part
    (r"^bert\.embeddings\.", "distilbert.embeddings."),
    (r"^bert\.encoder\.", "distilbert.transformer."),
    (r"^encoder\.", "transformer."),
    (r"\.attention\.self\.query\.", ".attention.q_lin."),
    (r"\.attention\.self\.key\.", ".attention.k_lin."),
    (r"\.attention\.self\.value\.", ".attention.v_lin."),
    (r"\.attention\.output\.dense\.", ".attention.out_lin."),
    (r"\.attention\.output\.LayerNorm\.", ".sa_layer_norm."),
    (r"\.intermediate\.dense\.", ".ffn.lin1."),
    (r"(layer\.\d+)\.output\.dense\.", r"\1.ffn.lin2."),
    (r"(layer\.\d+)\.output\.LayerNorm\.", r"\1.output_layer_norm."),
    (r"^cls\.predictions\.transform\.dense\.", "vocab_transform."),
    (r"^cls\.predictions\.transform\.LayerNorm\.", "vocab_layer_norm."),
    (r"^cls\.predictions\.decoder\.", "vocab_projector."),
)


def distilbert_config(teacher: LanguageModel, num_layers: int) -> DistilBertConfig:
    """The DistilBERT config in which a BERT's layers compute what they did.

    Raises:
        UserError: the teacher is not a BERT, reads texts by their first token, or normalises with
            another epsilon.
    """
    bert = teacher.config
    if teacher.anatomy.predicts in (Predicted.TEXT_LABELS, Predicted.TEXT_VALUE, Predicted.CHOICES):
        raise UserError(
            "distilbert=true: a BERT's classifier of texts has a tanh where DistilBERT's has a "
            "ReLU, so its head would compute something else. Leave it out, or carve the language "
            "model to a DistilBERT and start from that with PretrainedStudent's labels or head."
        )
    if bert.model_type != "bert":
        raise UserError(
            f"distilbert=true turns a BERT into a DistilBERT; the teacher is a {bert.model_type}: "
            "leave it out to keep the teacher's own class."
        )
    if bert.layer_norm_eps != _DISTILBERT_EPS:
        raise UserError(
            f"DistilBERT normalises with epsilon {_DISTILBERT_EPS} and the teacher with "
            f"{bert.layer_norm_eps}, so its layers would compute something else: leave "
            "distilbert=true out."
        )
    return DistilBertConfig(
        vocab_size=bert.vocab_size,
        max_position_embeddings=bert.max_position_embeddings,
        n_layers=num_layers,
        n_heads=bert.num_attention_heads,
        dim=bert.hidden_size,
        hidden_dim=bert.intermediate_size,
        dropout=bert.hidden_dropout_prob,
        attention_dropout=bert.attention_probs_dropout_prob,
        activation=bert.hidden_act,
        initializer_range=bert.initializer_range,
        pad_token_id=bert.pad_token_id,
        tie_word_embeddings=bert.tie_word_embeddings,
        **(labels_of(bert) if teacher.anatomy.has_task else {}),
    )


def distilbert_weights(bert: dict[str, Tensor]) -> dict[str, Tensor]:
    """DistilBERT's names for a BERT's weights, token type 0 folded into the positions."""
    (types,) = (table for name, table in bert.items() if "token_type_embeddings" in name)
    weights = {}
    for name, tensor in bert.items():
        if "token_type_embeddings" in name or name == "cls.predictions.bias":
            continue  # the latter is tied to the decoder's bias
        if name.startswith("pooler."):
            continue
        if name.endswith("embeddings.position_embeddings.weight"):
            wide = torch.promote_types(tensor.dtype, torch.float32)  # a bf16 sum would be rounded
            tensor = tensor.to(wide) + types[0].to(wide)
        for pattern, replacement in _DISTILBERT_NAMES:
            name = re.sub(pattern, replacement, name)
        weights[name] = tensor
    return weights
