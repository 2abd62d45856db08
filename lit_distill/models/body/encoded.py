"""What a model's body is asked for, and what it gives.

Shapes: B sequences, T padded length, N rows, D hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class Site:
    """A tensor (B, T, D) inside the body.

    Attributes:
        kind: "hidden" is a layer's output; the others are its attention's projections, biases
            included, before any rotation, heads side by side.
        layer: number of the layer from 0.
        encoder: of an encoder-decoder's encoder; its other layers are the decoder's.
    """

    kind: Literal["hidden", "query", "key", "value"]
    layer: int
    encoder: bool = False


@dataclass(frozen=True)
class Encoded:
    """What `LanguageModel.encode` returns.

    Attributes:
        hidden: (B, T, D), what the head reads; after an early stop, that layer's output.
        mask: (B, T), 1 at real positions.
        captured: (B, T, D) for each requested site.
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
