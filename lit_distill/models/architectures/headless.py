"""Rows of the architecture table for bodies without a head: `BertModel`, `LlamaModel` and others.

Sentence encoders and retrievers are saved like this. Methods that train hidden states learn from
them, and the student is exported as what the teacher is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lit_distill.models.architectures.anatomy import Anatomy, as_it_is, uncapped

_BODIES = {
    "BertForMaskedLM": "BertModel",
    "DistilBertForMaskedLM": "DistilBertModel",
    "RobertaForMaskedLM": "RobertaModel",
    "XLMRobertaForMaskedLM": "XLMRobertaModel",
    "ModernBertForMaskedLM": "ModernBertModel",
    "ElectraForMaskedLM": "ElectraModel",
    "AlbertForMaskedLM": "AlbertModel",
    "GPT2LMHeadModel": "GPT2Model",
    "LlamaForCausalLM": "LlamaModel",
    "MistralForCausalLM": "MistralModel",
    "Qwen2ForCausalLM": "Qwen2Model",
    "Qwen3ForCausalLM": "Qwen3Model",
    "GemmaForCausalLM": "GemmaModel",
    "Gemma2ForCausalLM": "Gemma2Model",
    "Gemma3ForCausalLM": "Gemma3TextModel",
    "GraniteForCausalLM": "GraniteModel",
}
"""Class with a language-model head, and the class of its body alone."""

_POOLED = ("BertModel", "RobertaModel", "XLMRobertaModel", "AlbertModel")
"""Bodies with a pooler over the first position, which runs behind the hidden states and which no
loss reads. Files of some sentence encoders lack its weights."""


def headless_rows(rows: Iterable[Anatomy]) -> tuple[Anatomy, ...]:
    """The rows of the bodies alone, where there is one.

    Args:
        rows: of classes with a head; in these, the body is a module of the first name in a path.
    """
    return tuple(
        _headless(row, _BODIES[row.architecture]) for row in rows if row.architecture in _BODIES
    )


def _headless(row: Anatomy, architecture: str) -> Anatomy:
    return replace(
        row,
        architecture=architecture,
        embeddings_path=_inside(row.embeddings_path),
        layers_path=_inside(row.layers_path),
        lm_head_path=None,
        head_prefixes=(),
        transform=as_it_is,
        cap=uncapped,
        spares={},
        optional=("pooler",) if architecture in _POOLED else (),
        auto_class="AutoModel",
        pipeline_tag="feature-extraction",
    )


def _inside(path: str) -> str:
    """A module's name inside of the body."""
    return path.partition(".")[2]
