"""Rows of the architecture table for encoders with a classifier: labels of texts and of tokens.

A task head is the encoder's own row with another head. What stands between the last hidden state
and the classifier (a pooler, dropout) is the row's `transform`, which sees the selected rows alone:
the first position of every text, or the positions of the labelled tokens.

Shapes: B texts, T positions, N rows, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lit_distill.models.architectures.anatomy import Anatomy, Predicted, last_states
from lit_distill.models.architectures.encoders import ENCODERS

Transform = Callable[[Any, Tensor], Tensor]


def _pooled(model: Any, rows_ND: Tensor) -> Tensor:
    pooler = model.base_model.pooler  # takes the first position of each text: here there is one
    rows: Tensor = model.dropout(pooler(rows_ND.unsqueeze(1)))
    return rows


def _dropped(model: Any, rows_ND: Tensor) -> Tensor:
    rows: Tensor = model.dropout(rows_ND)
    return rows


def _distilbert_text(model: Any, rows_ND: Tensor) -> Tensor:
    rows: Tensor = model.dropout(torch.relu(model.pre_classifier(rows_ND)))
    return rows


def _roberta_text(model: Any, rows_ND: Tensor) -> Tensor:
    head = model.classifier
    rows: Tensor = head.dropout(torch.tanh(head.dense(head.dropout(rows_ND))))
    return rows


def _modernbert(model: Any, rows_ND: Tensor) -> Tensor:
    rows: Tensor = model.drop(model.head(rows_ND))
    return rows


def _modernbert_pooled_states(model: Any, inputs: dict[str, Any]) -> Tensor:
    """Last hidden states (B, T, D); with mean pooling every position has its text's mean."""
    states = last_states(model, inputs)
    if model.config.classifier_pooling != "mean":
        return states
    mask = inputs["attention_mask"].unsqueeze(-1)
    means: Tensor = (states * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
    return means.expand_as(states)


_BODIES = {anatomy.model_type: anatomy for anatomy in ENCODERS}


def _text(
    architecture: str,
    model_type: str,
    transform: Transform,
    head_prefixes: tuple[str, ...],
    classifier: str = "classifier",
) -> Anatomy:
    """A classifier of texts."""
    return replace(
        _BODIES[model_type],
        architecture=architecture,
        transform=transform,
        lm_head_path=classifier,
        head_prefixes=head_prefixes,
        spares={},
        predicts=Predicted.TEXT_LABELS,
        auto_class="AutoModelForSequenceClassification",
        pipeline_tag="text-classification",
    )


def _tokens(architecture: str, model_type: str, transform: Transform = _dropped) -> Anatomy:
    """A classifier of tokens."""
    return replace(
        _BODIES[model_type],
        architecture=architecture,
        transform=transform,
        lm_head_path="classifier",
        head_prefixes=("head.", "classifier."),
        spares={},
        predicts=Predicted.TOKEN_LABELS,
        auto_class="AutoModelForTokenClassification",
        pipeline_tag="token-classification",
    )


def _roberta(architecture: str, model_type: str) -> Anatomy:
    classifier = "classifier.out_proj"
    return _text(architecture, model_type, _roberta_text, ("classifier.",), classifier)


TASK_HEADS: tuple[Anatomy, ...] = (
    _text("BertForSequenceClassification", "bert", _pooled, ("bert.pooler.", "classifier.")),
    _text(
        "DistilBertForSequenceClassification",
        "distilbert",
        _distilbert_text,
        ("pre_classifier.", "classifier."),
    ),
    _roberta("RobertaForSequenceClassification", "roberta"),
    _roberta("XLMRobertaForSequenceClassification", "xlm-roberta"),
    replace(
        _text(
            "ModernBertForSequenceClassification",
            "modernbert",
            _modernbert,
            ("head.", "classifier."),
        ),
        run=_modernbert_pooled_states,
    ),
    _tokens("BertForTokenClassification", "bert"),
    _tokens("DistilBertForTokenClassification", "distilbert"),
    _tokens("RobertaForTokenClassification", "roberta"),
    _tokens("XLMRobertaForTokenClassification", "xlm-roberta"),
    _tokens("ModernBertForTokenClassification", "modernbert", _modernbert),
)
