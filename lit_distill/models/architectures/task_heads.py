"""Rows of the architecture table for bodies with the head of a task instead of a vocabulary.

A task head is the row of the language model with another head. What stands between the last hidden
state and its linear map (a pooler, dropout) is the row's `transform`, which sees the selected rows
alone: the first position of every text, or those of labelled tokens and of possible answers. Where
a model reads a text elsewhere than at its first position, `run` brings the state there.

A number for each text has no class of its own: it is a classifier of texts with one output. Not in
the table are decoders that label tokens or find answers, whose positions do not see what follows;
and multiple choice of decoders and anything of Granite, for which Transformers has no class.

Shapes: B texts, T positions, N rows, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import (
    Anatomy,
    Predicted,
    as_it_is,
    last_states,
    uncapped,
)
from lit_distill.models.architectures.decoders import DECODERS
from lit_distill.models.architectures.encoders import ENCODERS

Transform = Callable[[Any, Tensor], Tensor]
Run = Callable[[Any, dict[str, Any]], Tensor]


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


def _albert_pooled(model: Any, rows_ND: Tensor) -> Tensor:
    body = model.base_model  # whose pooler is the linear map alone
    rows: Tensor = model.dropout(body.pooler_activation(body.pooler(rows_ND)))
    return rows


def _electra_text(model: Any, rows_ND: Tensor) -> Tensor:
    head = model.classifier
    rows: Tensor = head.dropout(head.activation(head.dense(head.dropout(rows_ND))))
    return rows


def _electra_choice(model: Any, rows_ND: Tensor) -> Tensor:
    rows: Tensor = model.sequence_summary(rows_ND.unsqueeze(1))  # its first position is all of it
    return rows


def _electra_first_states(model: Any, inputs: dict[str, Any]) -> Tensor:
    """Last hidden states (B, T, D) of a model whose summary is that of the first position.

    Raises:
        UserError: its config says another one.
    """
    if model.config.summary_type != "first":
        raise UserError(
            f"The {type(model).__name__} summarises a text by summary_type="
            f"{model.config.summary_type!r}: only 'first', which its class has by default, is "
            "supported."
        )
    return last_states(model, inputs)


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


def _last_token_states(model: Any, inputs: dict[str, Any]) -> Tensor:
    """Hidden states (B, T, D) of a decoder, everywhere those of the text's last token.

    That is the rightmost one which is not padding, as Transformers looks for it.
    """
    states = last_states(model, inputs)
    real, pad = inputs["attention_mask"] > 0, model.config.pad_token_id
    if pad is not None:
        real = real & (inputs["input_ids"] != pad)
    columns = torch.arange(real.shape[1], device=real.device)
    last = (columns * real).argmax(1)
    found = states[torch.arange(len(states), device=last.device), last]
    return found.unsqueeze(1).expand_as(states)


_BODIES = {anatomy.model_type: anatomy for anatomy in (*ENCODERS, *DECODERS)}

_AUTO_CLASSES = {
    Predicted.TEXT_LABELS: ("AutoModelForSequenceClassification", "text-classification"),
    Predicted.TOKEN_LABELS: ("AutoModelForTokenClassification", "token-classification"),
    Predicted.CHOICES: ("AutoModelForMultipleChoice", "multiple-choice"),
    Predicted.SPANS: ("AutoModelForQuestionAnswering", "question-answering"),
}


def _row(
    predicts: Predicted,
    architecture: str,
    model_type: str,
    transform: Transform,
    head_prefixes: tuple[str, ...],
    linear: str = "classifier",
    run: Run | None = None,
) -> Anatomy:
    """A body's row with another head; `run` as the body's own, unless it is given."""
    body, (auto_class, pipeline_tag) = _BODIES[model_type], _AUTO_CLASSES[predicts]
    return replace(
        body,
        architecture=architecture,
        transform=transform,
        lm_head_path=linear,
        head_prefixes=head_prefixes,
        spares={},
        cap=uncapped,
        run=run or body.run,
        predicts=predicts,
        auto_class=auto_class,
        pipeline_tag=pipeline_tag,
    )


_texts = partial(_row, Predicted.TEXT_LABELS)
_choices = partial(_row, Predicted.CHOICES)


def _roberta_texts(architecture: str, model_type: str) -> Anatomy:
    return _texts(architecture, model_type, _roberta_text, ("classifier.",), "classifier.out_proj")


def _roberta_choices(architecture: str, model_type: str) -> Anatomy:
    return _choices(architecture, model_type, _pooled, ("roberta.pooler.", "classifier."))


def _last_token(architecture: str, model_type: str) -> Anatomy:
    """A decoder that classifies texts by their last token."""
    given = (as_it_is, ("score.",), "score")
    return _texts(architecture, model_type, *given, run=_last_token_states)


def _tokens(architecture: str, model_type: str, transform: Transform = _dropped) -> Anatomy:
    prefixes = ("head.", "classifier.")
    return _row(Predicted.TOKEN_LABELS, architecture, model_type, transform, prefixes)


def _spans(architecture: str, model_type: str, transform: Transform = as_it_is) -> Anatomy:
    given = (transform, ("qa_outputs.",), "qa_outputs")
    return _row(Predicted.SPANS, architecture, model_type, *given)


_DISTILBERT = (_distilbert_text, ("pre_classifier.", "classifier."))
_MODERNBERT = (_modernbert, ("head.", "classifier."))
_ALBERT = (_albert_pooled, ("albert.pooler.", "classifier."))

_TEXTS: tuple[Anatomy, ...] = (
    _texts("BertForSequenceClassification", "bert", _pooled, ("bert.pooler.", "classifier.")),
    _texts("DistilBertForSequenceClassification", "distilbert", *_DISTILBERT),
    _roberta_texts("RobertaForSequenceClassification", "roberta"),
    _roberta_texts("XLMRobertaForSequenceClassification", "xlm-roberta"),
    _texts(
        *("ModernBertForSequenceClassification", "modernbert"),
        *_MODERNBERT,
        run=_modernbert_pooled_states,
    ),
    _texts(
        "ElectraForSequenceClassification",
        "electra",
        _electra_text,
        ("classifier.",),
        "classifier.out_proj",
    ),
    _texts("AlbertForSequenceClassification", "albert", *_ALBERT),
    _last_token("GPT2ForSequenceClassification", "gpt2"),
    _last_token("LlamaForSequenceClassification", "llama"),
    _last_token("MistralForSequenceClassification", "mistral"),
    _last_token("Qwen2ForSequenceClassification", "qwen2"),
    _last_token("Qwen3ForSequenceClassification", "qwen3"),
    _last_token("GemmaForSequenceClassification", "gemma"),
    _last_token("Gemma2ForSequenceClassification", "gemma2"),
    _last_token("Gemma3TextForSequenceClassification", "gemma3_text"),
)

TASK_HEADS: tuple[Anatomy, ...] = (
    *_TEXTS,
    _tokens("BertForTokenClassification", "bert"),
    _tokens("DistilBertForTokenClassification", "distilbert"),
    _tokens("RobertaForTokenClassification", "roberta"),
    _tokens("XLMRobertaForTokenClassification", "xlm-roberta"),
    _tokens("ModernBertForTokenClassification", "modernbert", _modernbert),
    _tokens("ElectraForTokenClassification", "electra"),
    _tokens("AlbertForTokenClassification", "albert"),
    *(replace(row, predicts=Predicted.TEXT_VALUE) for row in _TEXTS),
    _choices("BertForMultipleChoice", "bert", _pooled, ("bert.pooler.", "classifier.")),
    _choices("DistilBertForMultipleChoice", "distilbert", *_DISTILBERT),
    _roberta_choices("RobertaForMultipleChoice", "roberta"),
    _roberta_choices("XLMRobertaForMultipleChoice", "xlm-roberta"),
    _choices(
        *("ModernBertForMultipleChoice", "modernbert"), *_MODERNBERT, run=_modernbert_pooled_states
    ),
    _choices(
        *("ElectraForMultipleChoice", "electra"),
        *(_electra_choice, ("sequence_summary.", "classifier.")),
        run=_electra_first_states,
    ),
    _choices("AlbertForMultipleChoice", "albert", *_ALBERT),
    _spans("BertForQuestionAnswering", "bert"),
    _spans("DistilBertForQuestionAnswering", "distilbert", _dropped),
    _spans("RobertaForQuestionAnswering", "roberta"),
    _spans("XLMRobertaForQuestionAnswering", "xlm-roberta"),
    _row(Predicted.SPANS, "ModernBertForQuestionAnswering", "modernbert", *_MODERNBERT),
    _spans("ElectraForQuestionAnswering", "electra"),
    _spans("AlbertForQuestionAnswering", "albert"),
)
