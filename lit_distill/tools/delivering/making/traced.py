"""Modules of tensors in and tensors out, which the exporter follows.

Shapes: B texts, T positions, P positions read before, H heads, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from lit_distill.measures.probing import Pooling
from lit_distill.tools.delivering.deliverables.deliverable import Deliverable


class Outputs(nn.Module):
    """A model's own outputs, by the names of its inputs.

    Args:
        what: is exported.
    """

    def __init__(self, what: Deliverable) -> None:
        super().__init__()
        self.model = what.model
        self.names, self.outputs = what.inputs, what.outputs
        self.constants = {"use_cache": False} if what.anatomy.causal else {}

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Gives the outputs by `Deliverable.outputs`, of inputs by `Deliverable.inputs`."""
        found = self.model(**dict(zip(self.names, tensors, strict=True)), **self.constants)
        return tuple(found[name] for name in self.outputs)


class Vectors(nn.Module):
    """An embedder: last hidden states, pooled.

    Args:
        what: is exported; it has an `embedding`.
    """

    def __init__(self, what: Deliverable) -> None:
        super().__init__()
        assert what.embedding is not None
        self.body: nn.Module = what.model.base_model
        self.names, self.embedding = what.inputs, what.embedding
        self.constants = {"use_cache": False} if what.anatomy.causal else {}

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Gives one vector (B, D) for each text."""
        inputs = dict(zip(self.names, tensors, strict=True))
        states = self.body(**inputs, **self.constants).last_hidden_state
        found = pooled(states, inputs["attention_mask"], self.embedding.pooling)
        return (nn.functional.normalize(found, dim=-1) if self.embedding.normalized else found,)


def pooled(states: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """One state (B, D) for each text of (B, T, D), whichever side it is padded on."""
    if pooling == "mean":
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)
    columns = torch.arange(mask.shape[1], device=mask.device)
    if pooling == "first":
        columns = mask.shape[1] - columns  # the largest is the first real one
    place = (columns * mask).argmax(1)
    found: Tensor = states.gather(1, place.view(-1, 1, 1).expand(-1, 1, states.shape[2]))[:, 0]
    return found


class Cached(nn.Module):
    """A decoder that goes on behind what it has read.

    Args:
        what: is exported; a decoder.
    """

    def __init__(self, what: Deliverable) -> None:
        super().__init__()
        self.model = what.model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, past: list[Tensor]
    ) -> tuple[Tensor, ...]:
        """Gives logits (B, T, V), and keys and values (B, H, P + T, D) of every layer.

        Args:
            input_ids: (B, T).
            attention_mask: (B, P + T).
            position_ids: (B, T).
            past: keys and values (B, H, P, D) of every layer.
        """
        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        found = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
        )
        kept = [part for layer in cache.layers for part in (layer.keys, layer.values)]
        return found.logits, *kept
