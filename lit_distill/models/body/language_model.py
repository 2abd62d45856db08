"""A Hugging Face language model in two halves: `encode` up to the last hidden state, then rows.

Selecting rows before the vocabulary is the reason for the cut: logits (B, T, V) never exist. A
classifier is the same with labels in the place of the vocabulary; its rows are those with labels.

Shapes: B sequences, T padded length, N rows, D hidden size, V vocabulary or labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from lit_distill.batch import Batch
from lit_distill.losses import Head
from lit_distill.models.architectures.anatomy import Anatomy
from lit_distill.models.architectures.table import anatomy_of
from lit_distill.models.body.captures import (
    captures,
    check_gradients,
    check_sites,
    eager_attention,
)
from lit_distill.models.body.dropout import RandomStream, keep_all_layers, set_dropout
from lit_distill.models.body.encoded import Encoded, Site
from lit_distill.models.body.inputs import body_inputs, named_inputs

Inputs = ParamSpec("Inputs")
Result = TypeVar("Result")


def _through_forward(
    method: Callable[Concatenate[LanguageModel, Inputs], Result],
) -> Callable[Concatenate[LanguageModel, Inputs], Result]:
    """A method that reads weights, run inside of the model's `forward`."""

    @wraps(method)
    def call(model: LanguageModel, /, *args: Inputs.args, **kwargs: Inputs.kwargs) -> Result:
        result: Result = model(method, *args, **kwargs)
        return result

    return call


class LanguageModel(nn.Module):
    """A supported Hugging Face model and the knowledge of where its organs are.

    Args:
        model: with its head, or a body alone; used as it is, not copied.
        anatomy: its row of the table; None: that of its class.

    Attributes:
        size: how many entries of the vocabulary count, from the first; None for all. Set where
            models that learn from each other are padded differently.
        tokens: how many entries are tokens, from the first: only those are written; None for all.
        stream: where training draws dropout from; None: where everything else does.
        surgeries: descriptions (`{class_path, init_args}`) of how its modules were changed after it
            was built, in order; an export undoes them.
        notes: sentences for its model card.

    Raises:
        UserError: its architecture has no row in `lit_distill.models.architectures.anatomy`.
    """

    def __init__(self, model: PreTrainedModel, anatomy: Anatomy | None = None) -> None:
        super().__init__()
        self.anatomy = anatomy or anatomy_of(type(model).__name__, model.config.to_dict())
        self.model = model
        self.size: int | None = None
        self.tokens: int | None = None
        self.stream: RandomStream | None = None
        self.surgeries: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.anatomy.layer_numbers(model)  # refuses layers that have none
        keep_all_layers(model)
        for path in self.anatomy.computed:  # trainable after `from_pretrained`
            model.get_submodule(path).requires_grad_(False)
        for parameter in self.anatomy.unread(model):  # ranks would wait for its gradient
            parameter.requires_grad_(False)

    @property
    def config(self) -> PretrainedConfig:
        """The model's own configuration."""
        return self.model.config

    @property
    def vocab_size(self) -> int:
        """How many token ids it reads: rows of the embeddings of its input."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def outputs(self) -> int:
        """V: the width of the logits: tokens, labels, ...; `vocab_size` where there is no head."""
        if not self.anatomy.has_head:
            return self.vocab_size
        return self.anatomy.lm_head(self.model).weight.shape[0]

    @property
    def labels(self) -> list[str]:
        """What the outputs of a classifier stand for, in order; nothing of other models."""
        names = self.config.id2label if self.anatomy.has_labels else {}
        return [str(names[number]) for number in range(len(names))]

    @property
    def hidden_size(self) -> int:
        """D: the width of the hidden states."""
        return int(self.config.hidden_size)

    @property
    def layers(self) -> nn.ModuleList:
        """The layers, first to last; of an encoder-decoder, the decoder's."""
        return self.anatomy.layers(self.model)

    @property
    def reads_pairs(self) -> bool:
        """Whether it is an encoder-decoder, which reads a source and a target."""
        return self.anatomy.encoder_layers_path is not None

    @property
    def max_length(self) -> int:
        """The longest sequence, in tokens, that the position table holds."""
        return self.anatomy.max_length(self.config)

    def forward(
        self,
        fn: Callable[Concatenate[LanguageModel, Inputs], Result],
        *args: Inputs.args,
        **kwargs: Inputs.kwargs,
    ) -> Result:
        """Calls `fn(self, ...)`: the one door to the weights, which every other call goes through.

        What wraps a module's call (sharding, offloading, `torch.func.functional_call`) so wraps all
        that is computed: `functional_call(model, weights, (LanguageModel.encode, batch))`.

        Args:
            fn: a method of this class, or a function of the model.
            args: its other arguments; tensors that need gradients belong here and not in a closure.
            kwargs: the same by name.
        """
        return fn(self, *args, **kwargs)

    def encode(
        self,
        batch: Batch,
        view: str = "",
        capture: Sequence[Site] = (),
        last_layer: int | None = None,
    ) -> Encoded:
        """Runs the body: no logits, and nothing kept that was not asked for.

        Args:
            batch: see `Batch`; `segments` confine attention to each packed text.
            view: prefix of the batch keys to read ("src_", "tgt_").
            capture: sites to keep.
            last_layer: number of the last layer to run (from 0); None runs all.

        Raises:
            UserError: a layer does not exist or lies after `last_layer`; packed rows for
                flash attention; a tensor captured under reentrant gradient checkpointing.
        """
        last = len(self.layers) - 1 if last_layer is None else last_layer
        end = Site("hidden", last)
        sites = capture if last_layer is None else (*capture, end)
        hidden, captured = self._read(batch, view, sites, last, whole=True)
        if last_layer is not None:  # a body's final norm, where there is one, does not belong
            hidden = captured[end]
        mask = self.anatomy.mask(self.model, named_inputs(self.anatomy, batch, view))
        return Encoded(hidden, mask, {site: captured[site] for site in capture}, view)

    def capture(self, batch: Batch, sites: Sequence[Site], view: str = "") -> dict[Site, Tensor]:
        """The tensors at sites, with no more of the body than they are made of.

        Above the highest layer that is asked for nothing runs; of that layer itself, where only
        projections are asked for, its norm and these. An encoder-decoder's encoder runs whole.

        Args:
            batch: see `encode`.
            sites: at least one.
            view: see `encode`.

        Raises:
            UserError: as `encode`.
        """
        own = [site for site in sites if not site.encoder]
        last = max((site.layer for site in own), default=0)
        ends = {site.kind for site in own if site.layer == last}
        whole = self.reads_pairs or not ends.isdisjoint(("hidden", "attention"))
        captured = self._read(batch, view, sites, last, whole)[1]
        return {site: captured[site] for site in sites}

    @_through_forward
    def run_body(
        self,
        inputs: dict[str, Any],
        sites: Sequence[Site] = (),
        last: int | None = None,
        whole: bool = True,
    ) -> tuple[Tensor, dict[Site, Tensor]]:
        """Last hidden states (B, T, D) and captures of one forward with the model's own inputs.

        Args:
            inputs: what the model's own forward takes.
            sites: to keep; they are not checked.
            last: number of the last layer to run; None runs all.
            whole: whether that layer runs whole; see `captures`.
        """
        last = len(self.layers) - 1 if last is None else last
        with ExitStack() as stack:
            found = stack.enter_context(captures(self.model, self.anatomy, sites, last, whole))
            stack.enter_context(self._draws())
            return self.anatomy.run(self.model, inputs), found

    @_through_forward
    def run_encoder(self, inputs: dict[str, Tensor]) -> Tensor:
        """What the decoder of an encoder-decoder reads: the states (B, T, D) of its sources.

        Args:
            inputs: what the encoder's own forward takes: the first of the anatomy's inputs, and
                "attention_mask" (B, T).
        """
        states: Tensor = self.model.get_encoder()(**inputs).last_hidden_state
        return states

    @_through_forward
    def with_lm_head(self, fn: Callable[[Head], Result], rows: Tensor) -> Result:
        """Calls `fn` where the head's weights are whole and live (gradients flow into them).

        Args:
            fn: gets the transformed rows (N, D), the decoder's weight (V, D) and bias (V,).
            rows: last hidden states (N, D).

        Raises:
            UserError: the model has no head.
        """
        decoder = self.anatomy.lm_head(self.model)
        rows = self._transformed(rows)
        bias = self.anatomy.logit_bias(self.model)
        bias = decoder.bias if bias is None else bias
        return fn(Head(rows, decoder.weight, bias, self.anatomy.cap(self.config), self.size))

    @_through_forward
    def logits(self, rows: Tensor) -> Tensor:
        """Logits (N, `size` or V) of last hidden states (N, D), as the model computes them.

        Raises:
            UserError: the model has no head.
        """
        logits: Tensor = self.anatomy.lm_head(self.model)(self._transformed(rows))
        bias = self.anatomy.logit_bias(self.model)
        logits = logits if bias is None else logits + bias
        logits = logits[:, : self.size]
        cap = self.anatomy.cap(self.config)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def _transformed(self, rows: Tensor) -> Tensor:
        """What the head's linear map reads of last hidden states (N, D); task heads drop here."""
        if not self.anatomy.has_task:
            return self.anatomy.transform(self.model, rows)
        with self._draws():
            return self.anatomy.transform(self.model, rows)

    def _draws(self) -> AbstractContextManager[None]:
        """Where random numbers are drawn from inside: the model's stream while it trains."""
        if self.stream is None or not self.training:
            return nullcontext()
        return self.stream.drawn(next(self.model.parameters()).device)

    def compile_layers(self, backend: str | Callable[..., Any]) -> None:
        """Compiles each layer's forward, for all lengths; layers of one shape share the result.

        Hooks around a layer (sharding, captured outputs) stay outside. A layer whose projections
        are captured runs as it is: compiled code would not call hooks that come and go.

        Args:
            backend: of `torch.compile`.
        """
        for layer in dict.fromkeys((*self.anatomy.encoder_layers(self.model), *self.layers)):
            layer.forward = torch.compile(layer.forward, backend=backend, dynamic=True)

    def set_dropout(self, probability: float) -> None:
        """Sets every dropout of the model; its config, and so an export, keeps its own values."""
        set_dropout(self.model, probability)

    def _read(
        self, batch: Batch, view: str, sites: Sequence[Site], last: int, whole: bool
    ) -> tuple[Tensor, dict[Site, Tensor]]:
        """Last hidden states and captures of a batch; what cannot be captured is refused."""
        check_sites(self.model, self.anatomy, sites, last)
        attends = any(site.kind == "attention" for site in sites)
        with eager_attention(self.model) if attends else nullcontext():
            inputs = body_inputs(self.model, self.anatomy, batch, view)
            hidden, captured = self.run_body(inputs, sites, last, whole)
        check_gradients(self.model, self.anatomy, captured)
        return hidden, captured
