"""A Hugging Face language model in two halves: `encode` up to the last hidden state, then rows.

Selecting rows before the vocabulary is the reason for the cut: logits (B, T, V) never exist. A
classifier is the same with labels in the place of the vocabulary; its rows are those with labels.

Shapes: B sequences, T padded length, N rows, D hidden size, V vocabulary or labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import Head
from lit_distill.models.architectures.anatomy import Anatomy
from lit_distill.models.architectures.table import anatomy_of
from lit_distill.models.body.captures import handed_out, uncompiled
from lit_distill.models.body.dropout import RandomStream, set_dropout
from lit_distill.models.body.encoded import Encoded, Site
from lit_distill.models.body.packing import block_masks

Result = TypeVar("Result")


class LanguageModel(nn.Module):
    """A supported Hugging Face model and the knowledge of where its organs are.

    Args:
        model: the model with its head; used as it is, not copied.

    Attributes:
        size: how many entries of the vocabulary count, from the first; None for all. Set where
            models that learn from each other are padded differently.
        tokens: how many entries are tokens, from the first: only those are written; None for all.
        stream: where training draws dropout from; None: where everything else does.

    Raises:
        UserError: its architecture has no row in `lit_distill.models.architectures.anatomy`.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.anatomy: Anatomy = anatomy_of(type(model).__name__)
        self.model = model
        self.size: int | None = None
        self.tokens: int | None = None
        self.stream: RandomStream | None = None
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
        return int(cast(Any, self.model).get_input_embeddings().weight.shape[0])

    @property
    def outputs(self) -> int:
        """V: the width of the logits; of a classifier, the number of labels."""
        return self.anatomy.lm_head(self.model).weight.shape[0]

    @property
    def labels(self) -> list[str]:
        """What the outputs of a classifier stand for, in order; nothing of a language model."""
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

    def encode(
        self,
        batch: Batch,
        view: str = "",
        capture: Sequence[Site] = (),
        last_layer: int | None = None,
    ) -> Encoded:
        """Runs the body: no logits, no pooler, and nothing kept that was not asked for.

        Args:
            batch: see `Batch`; `segments` confine attention to each packed text.
            view: prefix of the batch keys to read ("src_", "tgt_").
            capture: sites to keep.
            last_layer: number of the last layer to run (from 0); None runs all.

        Raises:
            UserError: a layer does not exist or lies after `last_layer`; packed rows without SDPA;
                a projection captured under reentrant gradient checkpointing.
        """
        last = len(self.layers) - 1 if last_layer is None else last_layer
        self._check_layers(capture, last)
        end = Site("hidden", last)
        wanted = capture if last_layer is None else (*capture, end)
        hidden, captured = self.run_body(self._inputs(batch, view), wanted, last)
        for site in wanted:
            self._check_gradient(site, captured[site])
        if last_layer is not None:  # a body's final norm, where there is one, does not belong
            hidden = captured[end]
        side = "decoder_" if self.reads_pairs else ""
        mask = cast(Mapping[str, Tensor], batch)[f"{view}{side}attention_mask"]
        return Encoded(hidden, mask, {site: captured[site] for site in capture}, view)

    def run_body(
        self, inputs: dict[str, Any], wanted: Sequence[Site], last: int
    ) -> tuple[Tensor, dict[Site, Tensor]]:
        """Last hidden states and captures of one forward; for `encode`, which checks its arguments.

        Args:
            inputs: what the model's own forward takes.
            wanted: sites to keep.
            last: number of the last layer to run.
        """
        captured: dict[Site, Tensor] = {}
        with ExitStack() as stack:
            for layer, sites in self._projecting(wanted).items():
                stack.enter_context(uncompiled(layer))
                modules = [self._module(site) for site in sites]
                stack.enter_context(handed_out(self.anatomy, layer, modules, sites, captured))
            for site in wanted:
                if site.kind == "hidden":
                    stack.callback(self._watch(site, captured).remove)
            if last < len(self.layers) - 1:
                stack.enter_context(self._only(last + 1))
            stack.enter_context(self._draws())
            hidden = self.anatomy.run(self.model, inputs)
        return hidden, captured

    def run_encoder(self, ids: Tensor, mask: Tensor) -> Tensor:
        """What the decoder of an encoder-decoder reads (B, T, D) of its sources (B, T)."""
        encoder = cast(Any, self.model).get_encoder()
        return cast(Tensor, encoder(input_ids=ids, attention_mask=mask).last_hidden_state)

    def with_lm_head(self, fn: Callable[[Head], Result], rows: Tensor) -> Result:
        """Calls `fn` where the head's weights are whole and live (gradients flow into them).

        Args:
            fn: gets the transformed rows (N, D), the decoder's weight (V, D) and bias (V,).
            rows: last hidden states (N, D).
        """
        decoder = self.anatomy.lm_head(self.model)
        rows = self._transformed(rows)
        bias = self.anatomy.logit_bias(self.model)
        bias = decoder.bias if bias is None else bias
        return fn(Head(rows, decoder.weight, bias, self.anatomy.cap(self.config), self.size))

    def logits(self, rows: Tensor) -> Tensor:
        """Logits (N, `size` or V) of last hidden states (N, D), as the model computes them."""
        rows = self._transformed(rows)
        logits = cast(Tensor, self.anatomy.lm_head(self.model)(rows))
        bias = self.anatomy.logit_bias(self.model)
        logits = logits if bias is None else logits + bias
        logits = logits[:, : self.size]
        cap = self.anatomy.cap(self.config)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def _transformed(self, rows: Tensor) -> Tensor:
        """What the head's linear map reads of last hidden states (N, D); classifiers drop here."""
        if not self.anatomy.has_labels:
            return self.anatomy.transform(self.model, rows)
        with self._draws():
            return self.anatomy.transform(self.model, rows)

    def _draws(self) -> AbstractContextManager[None]:
        """Where random numbers are drawn from inside: the model's stream while it trains."""
        if self.stream is None or not self.training:
            return nullcontext()
        return self.stream.drawn(self.anatomy.lm_head(self.model).weight.device)

    def compile_layers(self, backend: str | Callable[..., Any]) -> None:
        """Compiles each layer's forward, for all lengths; layers of one shape share the result.

        Hooks around a layer (sharding, captured outputs) stay outside. A layer whose projections
        are captured runs as it is: compiled code would not call hooks that come and go.

        Args:
            backend: of `torch.compile`.
        """
        for layer in (*self.anatomy.encoder_layers(self.model), *self.layers):
            layer.forward = torch.compile(layer.forward, backend=backend, dynamic=True)

    def set_dropout(self, probability: float) -> None:
        """Sets every dropout of the model; its config, and so an export, keeps its own values."""
        set_dropout(self.model, probability)

    def _inputs(self, batch: Batch, view: str) -> dict[str, Tensor]:
        keys = cast(Mapping[str, Any], batch)
        inputs = {n: keys[view + n] for n in self.anatomy.inputs if view + n in keys}
        if self.reads_pairs and f"{view}segments" in keys:
            raise UserError("Packed rows (segments) are not supported for encoder-decoders.")
        if "position_ids" in inputs:
            inputs["position_ids"] = inputs["position_ids"] + self.anatomy.position_offset(
                self.config
            )
        if f"{view}segments" in keys:
            inputs["attention_mask"] = block_masks(
                keys[f"{view}segments"], self.config, self.anatomy.causal
            )
        if self.anatomy.causal:
            inputs["use_cache"] = False  # no keys and values to generate with
        return inputs

    def _module(self, site: Site) -> nn.Module:
        if site.kind == "hidden":
            return self._stack(site)[site.layer]
        return self._stack(site)[site.layer].get_submodule(self.anatomy.projection_paths[site.kind])

    def _stack(self, site: Site) -> nn.ModuleList:
        return self.anatomy.encoder_layers(self.model) if site.encoder else self.layers

    def _watch(self, site: Site, captured: dict[Site, Tensor]) -> torch.utils.hooks.RemovableHandle:
        def keep(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            del module, args
            captured[site] = output[0] if isinstance(output, tuple) else output  # T5's give several

        return self._module(site).register_forward_hook(keep)

    def _projecting(self, sites: Sequence[Site]) -> dict[nn.Module, list[Site]]:
        """Layers of which projections are wanted, and these."""
        found: dict[nn.Module, list[Site]] = {}
        for site in sites:
            if site.kind != "hidden":
                found.setdefault(self._stack(site)[site.layer], []).append(site)
        return found

    @contextmanager
    def _only(self, count: int) -> Iterator[None]:
        """Leaves the first `count` layers in place for one forward.

        Unlike an exception thrown from a hook, this lets every enclosing forward end normally,
        which sharded modules count on.
        """
        path, _, name = self.anatomy.layers_path.rpartition(".")
        owner, layers = self.model.get_submodule(path), self.layers
        setattr(owner, name, layers[:count])
        try:
            yield
        finally:
            setattr(owner, name, layers)

    def _check_layers(self, capture: Sequence[Site], last: int) -> None:
        count = len(self.layers)
        if not 0 <= last < count:
            raise UserError(
                f"last_layer={last}: {type(self.model).__name__} has {count} layers, "
                f"numbered 0 to {count - 1}."
            )
        for site in capture:
            of = len(self._stack(site))
            end = of - 1 if site.encoder else last
            if not 0 <= site.layer <= end:
                raise UserError(
                    f"{site.kind} of layer {site.layer} cannot be captured: "
                    f"{type(self.model).__name__} runs layers 0 to {end} of {of} here."
                )

    def _check_gradient(self, site: Site, value: Tensor) -> None:
        """Reentrant checkpointing runs layers without a graph: captures would lose gradients."""
        if value.requires_grad or not torch.is_grad_enabled():
            return
        if any(parameter.requires_grad for parameter in self._module(site).parameters()):
            raise UserError(
                f"{site.kind} of layer {site.layer} has no gradient under reentrant gradient "
                "checkpointing: enable it with use_reentrant=False (the default)."
            )
