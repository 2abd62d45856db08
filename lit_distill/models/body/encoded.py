"""What a model's body is asked for, and what it gives.

Shapes: B sequences, T padded length, N rows, D hidden size, H attention heads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from lit_distill.models.architectures.anatomy import Projection


@dataclass(frozen=True)
class Site:
    """A tensor inside the body: (B, T, D), or (B, H, T, T) of attention.

    Attributes:
        kind: "embeddings" is what the first layer reads; "hidden" a layer's output; "query", "key"
            and "value" its attention's projections, biases included, before any rotation, heads
            side by side; "attention" the probabilities of its self-attention, behind dropout.
            For these, all layers of the call attend by the formula instead of a fused kernel.
        layer: number of the layer from 0; 0 for the embeddings.
        encoder: of an encoder-decoder's encoder; its other layers are the decoder's.
    """

    kind: Literal["embeddings", "hidden", "attention"] | Projection
    layer: int = 0
    encoder: bool = False


@dataclass(frozen=True)
class Encoded:
    """What `LanguageModel.encode` returns.

    Attributes:
        hidden: (B, T, D), what the head reads; after an early stop, that layer's output.
        mask: (B, T), 1 at real positions; T is the body's, which may be shorter than its input.
        captured: the tensor at each requested site.
        view: prefix of the batch keys that were read.
    """

    hidden: Tensor
    mask: Tensor
    captured: dict[Site, Tensor] = field(default_factory=dict)
    view: str = ""

    def rows(self, flat: Tensor, site: Site | None = None) -> Tensor:
        """States (N, D) at flat positions (N,) of the flattened (B*T).

        Args:
            flat: positions (N,).
            site: which captured ones; None: `hidden`.
        """
        states = self.hidden if site is None else self.captured[site]
        return states.flatten(0, 1).index_select(0, flat)
