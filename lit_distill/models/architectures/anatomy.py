"""What the project has to know of an architecture; `table.py` has a row for each.

Paths are dotted names for `torch.nn.Module.get_submodule`, looked up when asked, so that a replaced
module (trimmed embeddings, sharded layers) is found as well. Everything that differs between
architectures is a column here; nothing else in the project asks which model it has.

Shapes: B texts, T positions, N rows, D hidden size, V outputs of the head: tokens or labels.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import transformers
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from lit_distill.errors import UserError

Projection = Literal["query", "key", "value"]


class Predicted(Enum):
    """What the outputs of a model's head stand for."""

    TOKENS = "tokens"
    """Tokens of the vocabulary: a language model."""
    TEXT_LABELS = "labels of texts"
    """Names in config.id2label; the head reads one row of each text, its first position."""
    TOKEN_LABELS = "labels of tokens"
    """Names in config.id2label; the head reads the rows of the labelled tokens."""
    TEXT_VALUE = "a number for each text"
    """Regression: one output, read as that of `TEXT_LABELS`, of the same class of Transformers."""
    CHOICES = "one of several texts"
    """Multiple choice: one output, the score of a text; an example has several."""
    SPANS = "the first and the last token of an answer"
    """Extractive question answering: two outputs at every position that can be either."""

    @property
    def labelled(self) -> bool:
        """Whether the outputs have names of their own."""
        return self in (Predicted.TEXT_LABELS, Predicted.TOKEN_LABELS)

    @property
    def noun(self) -> str:
        """What a model with such a head is called."""
        return _NOUNS[self]


_NOUNS = {
    Predicted.TOKENS: "language model",
    Predicted.TEXT_LABELS: "classifier",
    Predicted.TOKEN_LABELS: "classifier",
    Predicted.TEXT_VALUE: "regression model",
    Predicted.CHOICES: "multiple-choice model",
    Predicted.SPANS: "question-answering model",
}


@dataclass(frozen=True)
class TaskHead:
    """The head that a task needs, and that a body can be given.

    Attributes:
        predicts: what its outputs stand for.
        labels: their names in order, of labels of texts or of tokens; else nothing.

    Raises:
        UserError: labels are missing, named twice, or given to a head that has none.
    """

    predicts: Predicted
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.predicts == Predicted.TOKENS:
            raise UserError("A head of tokens is a language model's own: leave `head` out.")
        shown = f"{self.predicts.value}, and was given the labels {list(self.labels)}"
        if not self.predicts.labelled and self.labels:
            raise UserError(f"The head predicts {shown}: leave them out.")
        if self.predicts.labelled and not 2 <= len(self.labels) == len({*self.labels}):
            raise UserError(f"The head predicts {shown}: name two or more, each once.")

    @property
    def config(self) -> dict[str, Any]:
        """What the config of a model with this head says about its outputs, by key."""
        value, span = (self.predicts == p for p in (Predicted.TEXT_VALUE, Predicted.SPANS))
        names = ("value",) if value else ("start", "end") if span else self.labels
        kind = "regression" if value else "single_label_classification" if self.labels else None
        numbers = dict(enumerate(names or ("LABEL_0", "LABEL_1")))  # Transformers' own of choices
        back = {name: number for number, name in numbers.items()}
        return {"id2label": numbers, "label2id": back, "problem_type": kind}


def _no_offset(config: PretrainedConfig) -> int:
    del config
    return 0


def uncapped(config: PretrainedConfig) -> float | None:
    """No limit of the logits."""
    del config
    return None


def as_it_is(model: Any, rows_ND: Tensor) -> Tensor:
    """No transform before the decoder."""
    del model
    return rows_ND


def last_states(model: Any, inputs: dict[str, Any]) -> Tensor:
    """Last hidden states (B, T, D) of a body that is a module of its own."""
    output = model.base_model(**inputs, output_hidden_states=False, output_attentions=False)
    states: Tensor = output.last_hidden_state
    return states


def no_bias(model: Any) -> Tensor | None:
    """Nothing is added to the decoder's output."""
    del model
    return None


def inputs_mask(model: Any, inputs: Mapping[str, Any]) -> Tensor:
    """The mask (B, T) of what is read, for a body that keeps its length."""
    del model
    mask: Tensor = inputs["attention_mask"]
    return mask


@dataclass(frozen=True)
class Anatomy:
    """One architecture: what it reads and where its organs are.

    Attributes:
        architecture: the Hugging Face class, with its head where it has one (config.architectures).
        model_type: config.model_type.
        inputs: batch keys that the body takes, first what it reads (ids, samples).
        layers_path: the list of layers.
        layer_order: which of them runs at each depth, where one may run several times (ALBERT);
            None: each runs once, in order.
        embeddings_path: the module from ids to the first layer's input, or, where embeddings are
            narrower than the hidden states (ELECTRA, ALBERT), to what is projected to it.
        projection_paths: inside a layer, the modules whose outputs (B, T, width) are q, k and v,
            before any rotation and with all heads side by side; one and the same module where it
            makes all three, side by side in this order and of equal width.
        norm_path: inside a layer, the norm that its projections read through; None: they read the
            layer's input as it is (the norm comes last).
        lm_head_path: the linear map to the vocabulary, or of a task head to the labels; weight
            (V, D), bias (V,) or None. None: the class is a body without a head.
        head_prefixes: how the names of head weights begin.
        transform: (model, last hidden states (N, D)) -> what the decoder reads (N, D).
        causal: a position sees only those before it, and predicts the next token.
        cap: the config's limit c of logits, c tanh(logits / c); None where there is none.
        run: (model, inputs) -> the last hidden states (B, T, D), without the head.
        mask: (model, inputs) -> (B, T), 1 at the real positions of those states.
        logit_bias: a constant (V,) that the model adds to its decoder's output, if any.
        layer_count: the config's name for the number of layers.
        intermediate_sizes: its names for the widths of the feed-forward blocks.
        position_table: its name for the longest sequence; None where there is no limit.
        position_offset: the table index of the first token's position.
        counts_from_padding: the model itself counts positions from the padding id on.
        computed: modules whose weights are computed, not learnt: never trained, and never saved.
        spares: parameters that nothing reads unless the config ties them to these others.
        encoder_layers_path: of an encoder-decoder, whose `layers_path` is the decoder's.
        encoder_layer_count: as `layer_count`, of the encoder.
        optional: modules that a saved model may lack: None then.
        auto_class: the class of transformers that loads it with its head.
        pipeline_tag: what it is for, in the words of the hub.
        predicts: what its V outputs stand for.
    """

    architecture: str
    model_type: str
    inputs: tuple[str, ...]
    embeddings_path: str
    layers_path: str
    projection_paths: dict[Projection, str]
    lm_head_path: str | None
    head_prefixes: tuple[str, ...]
    transform: Callable[[Any, Tensor], Tensor] = as_it_is
    causal: bool = False
    cap: Callable[[PretrainedConfig], float | None] = uncapped
    run: Callable[[Any, dict[str, Any]], Tensor] = last_states
    mask: Callable[[Any, Mapping[str, Any]], Tensor] = inputs_mask
    logit_bias: Callable[[Any], Tensor | None] = no_bias
    norm_path: str | None = None
    layer_order: Callable[[Any], list[int]] | None = None
    layer_count: str = "num_hidden_layers"
    intermediate_sizes: tuple[str, ...] = ("intermediate_size",)
    position_table: str | None = "max_position_embeddings"
    position_offset: Callable[[PretrainedConfig], int] = _no_offset
    counts_from_padding: bool = False
    computed: tuple[str, ...] = ()
    spares: dict[str, str] = field(default_factory=dict)
    encoder_layers_path: str | None = None
    encoder_layer_count: str | None = None
    optional: tuple[str, ...] = ()
    auto_class: str = "AutoModelForMaskedLM"
    pipeline_tag: str = "fill-mask"
    predicts: Predicted = Predicted.TOKENS

    @property
    def has_labels(self) -> bool:
        """Whether it is a classifier: its outputs are labels, of texts or of tokens."""
        return self.predicts.labelled

    @property
    def has_task(self) -> bool:
        """Whether its outputs are something else than tokens: labels, a number, a choice, spans."""
        return self.predicts != Predicted.TOKENS

    @property
    def has_head(self) -> bool:
        """Whether the class has a map from its hidden states to logits."""
        return self.lm_head_path is not None

    def is_body_of(self, other: Anatomy) -> bool:
        """Whether this is the row of another class's body alone."""
        return not self.has_head and other.has_head and self.model_type == other.model_type

    @property
    def attention_path(self) -> str:
        """Inside a layer, the module that attends: its last output is the probabilities."""
        return self.projection_paths["query"].rpartition(".")[0]

    def model_class(self) -> type[PreTrainedModel]:
        """The Hugging Face class of this architecture."""
        found: type[PreTrainedModel] = getattr(transformers, self.architecture)  # imported there
        return found

    def embeddings(self, model: PreTrainedModel) -> nn.Module:
        """The module at `embeddings_path`, from token ids (B, T)."""
        found: nn.Module = model.get_submodule(self.embeddings_path)
        return found

    def layers(self, model: PreTrainedModel) -> nn.ModuleList:
        """The layers by depth, first to last; one that runs several times stands there as often."""
        found: nn.ModuleList = model.get_submodule(self.layers_path)
        if self.layer_order is None:
            return found
        return nn.ModuleList(found[number] for number in self.layer_numbers(model))

    def layer_numbers(self, model: PreTrainedModel) -> list[int]:
        """The number in the list at `layers_path` of the layer at each depth."""
        if self.layer_order is None:
            return list(range(len(self.layers(model))))
        return self.layer_order(model.config)

    def projected(self, output: Tensor, kind: Projection) -> Tensor:
        """q, k or v (B, T, width) in the output of the module at `projection_paths[kind]`."""
        if len(set(self.projection_paths.values())) == 3:
            return output
        return output.chunk(3, dim=-1)[list(self.projection_paths).index(kind)]

    def lm_head(self, model: PreTrainedModel) -> nn.Linear:
        """The map to the V outputs, after `transform`.

        Raises:
            UserError: the class has none.
        """
        if self.lm_head_path is None:
            raise UserError(
                f"A {self.architecture} has no language-model head, so it gives no logits: use a "
                "method that compares hidden states (MiniLMv2), or a checkpoint with a head."
            )
        found: nn.Linear = model.get_submodule(self.lm_head_path)
        return found

    def unread(self, model: PreTrainedModel) -> list[nn.Parameter]:
        """Parameters that no output depends on."""
        named = dict(model.named_parameters(remove_duplicate=False))
        pairs = ((named.get(spare), named[other]) for spare, other in self.spares.items())
        return [spare for spare, other in pairs if spare is not None and spare is not other]

    def encoder_layers(self, model: PreTrainedModel) -> nn.ModuleList:
        """The layers of an encoder-decoder's encoder, first to last; none of others."""
        if self.encoder_layers_path is None:
            return nn.ModuleList()
        found: nn.ModuleList = model.get_submodule(self.encoder_layers_path)
        return found

    def max_length(self, config: PretrainedConfig) -> int:
        """The longest sequence, in tokens, that the position table holds."""
        if self.position_table is None:
            return sys.maxsize
        return int(getattr(config, self.position_table)) - self.position_offset(config)
