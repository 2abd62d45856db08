"""What is delivered: a saved model with its tokenizer, and what an ONNX file of it is to compute.

Shapes: B texts, T positions, L layers, H heads, D width, V outputs, C choices.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lit_distill.errors import UserError
from lit_distill.measures.probing import Pooling
from lit_distill.models import Anatomy, Predicted, anatomy_of, load_tokenizer
from lit_distill.models.loading.pretrained import open_model
from lit_distill.tools.delivering.deliverables.choices import OnnxSpec

LONGEST = 256
"""Most tokens of a text that the gate reads."""
_POOLINGS: dict[str, Pooling] = {"mean": "mean", "cls": "first", "lasttoken": "last"}
_FLAGS = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "lasttoken"}
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "decoder_input_ids")


@dataclass(frozen=True)
class Embedding:
    """How an embedder makes one vector of a text's last hidden states."""

    pooling: Pooling
    normalized: bool


@dataclass(frozen=True)
class Deliverable:
    """A model in float32 and eval mode, and what of it is exported.

    Attributes:
        folder: where it was read.
        called: how messages call it.
        model: with its head, if it has one.
        anatomy: its row of the table.
        tokenizer: its own.
        embedding: how texts become vectors; None: the outputs are the head's.
        cache: whether keys and values go in and out.
    """

    folder: Path
    called: str
    model: PreTrainedModel
    anatomy: Anatomy
    tokenizer: PreTrainedTokenizerFast
    embedding: Embedding | None
    cache: bool

    @property
    def inputs(self) -> list[str]:
        """Names of what a text is made of: all (B, T); of choices, (B, C, T)."""
        return [name for name in _INPUTS if name in self.anatomy.inputs]

    @property
    def outputs(self) -> list[str]:
        """Names of what is compared."""
        if self.embedding is not None:
            return ["sentence_embedding"]
        spans = self.anatomy.predicts == Predicted.SPANS
        return ["start_logits", "end_logits"] if spans else ["logits"]

    @property
    def decides(self) -> bool:
        """Whether outputs are logits of which the largest is a decision."""
        return self.embedding is None and self.anatomy.predicts != Predicted.TEXT_VALUE

    @property
    def has_positions(self) -> bool:
        """Whether there are outputs (B, T, V) at every position; else one row (B, V) of a text."""
        found = (Predicted.TOKENS, Predicted.TOKEN_LABELS)
        return self.embedding is None and self.anatomy.predicts in found

    @property
    def max_length(self) -> int:
        """Most tokens that the gate reads of a text."""
        return min(LONGEST, self.anatomy.max_length(self.model.config))

    @property
    def padding(self) -> int:
        """The id at positions that are none."""
        own = (self.model.config.pad_token_id, self.tokenizer.pad_token_id, 0)
        return next(int(value) for value in own if value is not None)

    @property
    def cached_names(self) -> list[str]:
        """Of keys and values (B, H, T, D) of every layer in turn, behind `past.` or `present.`."""
        layers = self.model.config.num_hidden_layers if self.cache else 0
        return [f"{layer}.{part}" for layer in range(layers) for part in ("key", "value")]

    def no_past(self, texts: int) -> list[torch.Tensor]:
        """Keys and values of nothing."""
        config = self.model.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        return [torch.zeros(texts, heads, 0, width) for _ in self.cached_names]


def open_deliverable(folder: Path, spec: OnnxSpec, called: str) -> Deliverable:
    """Opens what is to be delivered.

    Args:
        folder: a Hugging Face folder, or one of an adapter.
        spec: what the user chose.
        called: how messages call it.

    Raises:
        UserError: it cannot be opened, is a body whose pooling nothing tells, or has no such cache.
    """
    saved = _saved_embedding(folder)
    model = open_model(str(folder), None, torch.float32, needs_head=False)
    anatomy = anatomy_of(type(model).__name__, model.config.to_dict())
    embedding = saved
    if spec.pooling is not None:
        normalized = saved.normalized if saved else True
        embedding = Embedding(spec.pooling, normalized)
    if embedding is not None and spec.normalized is not None:
        embedding = Embedding(embedding.pooling, spec.normalized)
    if embedding is None and not anatomy.has_head:
        raise UserError(
            f"{called} is a {anatomy.architecture} without a head, and no modules.json says how it "
            "makes one vector of a text: give --onnx.pooling mean, first or last, as it was "
            "trained."
        )
    pairs = anatomy.encoder_layers_path is not None
    if embedding is not None and pairs:
        raise UserError(
            f"{called} is an encoder-decoder, which makes no vectors: leave --onnx.pooling out."
        )
    writes = anatomy.causal and not pairs and not anatomy.has_task and embedding is None
    if spec.cache and not writes:
        raise UserError(
            f"{called} is a {anatomy.architecture}, and only decoders with a language-model head "
            "are exported with keys and values: leave --onnx.cache out."
        )
    tokenizer = load_tokenizer(str(folder))
    return Deliverable(folder, called, model, anatomy, tokenizer, embedding, spec.cache)


def _saved_embedding(folder: Path) -> Embedding | None:
    """What sentence-transformers wrote about a folder, if it did."""
    path = folder / "modules.json"
    if not path.is_file():
        return None
    try:
        modules = [(str(m["type"]).rpartition(".")[2], str(m["path"])) for m in _json(path)]
        kinds = [kind for kind, _ in modules]
        if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
            raise UserError(
                f"{path} lists {', '.join(kinds)}, and an ONNX file is made of Transformer, "
                "Pooling and Normalize only: give --onnx.pooling in a copy without that file, if "
                "the others can go."
            )
        told = _json(folder / modules[1][1] / "config.json")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"What {path} says of pooling cannot be read ({type(error).__name__}: {error}): repair "
            "it, or give --onnx.pooling in a copy without that file."
        ) from error
    flags = [name for flag, name in _FLAGS.items() if told.get(f"pooling_mode_{flag}") is True]
    others = [key for key, value in told.items() if key[:13] == "pooling_mode_" and value is True]
    named = [told["pooling_mode"]] if isinstance(told.get("pooling_mode"), str) else flags
    if len(named) != 1 or len(others) > 1 or named[0] not in _POOLINGS:
        raise UserError(
            f"{folder / modules[1][1]} pools by {', '.join(others or named) or 'nothing'}, and an "
            "ONNX file pools by one of mean, cls or the last token: give another folder."
        )
    return Embedding(_POOLINGS[named[0]], "Normalize" in kinds)


def _json(path: Path) -> Any:
    return cast(Any, json.loads(path.read_text("utf-8")))
