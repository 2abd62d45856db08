"""Tiny models of every supported architecture, with weights far from their initial values."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from lit_distill.models import Anatomy, TaskHead
from lit_distill.models.architectures.table import anatomy_of_type

SHAPE = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}
GROUPED = {**SHAPE, "num_key_value_heads": 2}
WINDOWS = {"sliding_window": 3}
SHAPES: dict[str, dict[str, Any]] = {
    "bert": SHAPE,
    "distilbert": {
        "vocab_size": 40,
        "dim": 16,
        "n_layers": 4,
        "n_heads": 4,
        "hidden_dim": 24,
        "max_position_embeddings": 20,
    },
    "roberta": SHAPE,
    "xlm-roberta": SHAPE,
    "modernbert": {
        **SHAPE,
        "local_attention": 4,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "cls_token_id"), 0),
        **dict.fromkeys(("eos_token_id", "sep_token_id"), 2),
    },
    "electra": {**SHAPE, "embedding_size": 8},
    "albert": {**SHAPE, "embedding_size": 8, "num_hidden_groups": 2},
    "gpt2": {
        "vocab_size": 40,
        "n_embd": 16,
        "n_layer": 4,
        "n_head": 4,
        "n_positions": 20,
        **dict.fromkeys(("bos_token_id", "eos_token_id"), 2),
    },
    "llama": GROUPED,
    "mistral": {**GROUPED, **WINDOWS},
    "qwen2": {**GROUPED, **WINDOWS, "use_sliding_window": True, "max_window_layers": 2},
    "qwen3": {**GROUPED, "head_dim": 6},
    "gemma": {**GROUPED, "head_dim": 8},
    "gemma2": {**GROUPED, **WINDOWS, "head_dim": 8, "final_logit_softcapping": 3.0},
    "gemma3_text": {**GROUPED, **WINDOWS, "head_dim": 8, "final_logit_softcapping": 3.0},
    "granite": {
        **GROUPED,
        "logits_scaling": 4.0,  # as Granite's a power of two: exact wherever it is applied
        "embedding_multiplier": 2.0,
        "attention_multiplier": 0.4,
        "residual_multiplier": 0.5,
    },
}
T5 = {
    "vocab_size": 40,
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 24,
    "num_layers": 3,
    "num_decoder_layers": 4,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
BART = {
    "vocab_size": 40,
    "d_model": 16,
    "max_position_embeddings": 20,
    "encoder_layers": 3,
    "decoder_layers": 4,
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 24),
    **dict.fromkeys(("pad_token_id", "decoder_start_token_id"), 1),
    **dict.fromkeys(("bos_token_id", "eos_token_id", "forced_eos_token_id"), 2),
}
SHAPES |= {
    "t5": T5,
    "mt5": T5,
    "bart": BART,
    "marian": {**BART, "decoder_vocab_size": 40},
    "mbart": BART,
    "m2m_100": {**BART, "decoder_start_token_id": 2, "scale_embedding": True},
}
FAMILIES = tuple(SHAPES)


LABELS = ["bad", "fair", "good"]
"""Of classifiers."""


def random_model(kind: str | Anatomy, **changes: Any) -> PreTrainedModel:
    """A random model in eval mode: zero biases and unit norms would hide mistakes.

    Args:
        kind: a row of the table, or the model type of a language model.
        changes: of its config.
    """
    torch.manual_seed(0)
    anatomy = anatomy_of_type(kind) if isinstance(kind, str) else kind
    if anatomy.has_task:
        head = TaskHead(anatomy.predicts, tuple(LABELS) if anatomy.has_labels else ())
        problem = {} if anatomy.has_labels else {"problem_type": head.config["problem_type"]}
        names = {key: head.config[key] for key in ("id2label", "label2id")}
        pads = {"pad_token_id": 0} if anatomy.causal else {}  # by which it finds the last token
        changes = {**names, **problem, **pads, **changes}
    architecture = anatomy.model_class()
    config = architecture.config_class(**{**SHAPES[anatomy.model_type], **changes})
    model = architecture(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:  # Marian's positions are fixed
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()
