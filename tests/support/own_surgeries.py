"""A surgery as a user would write it, in a module of their own: --allow-module own_surgeries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_distill.models import LanguageModel, Surgery


class Gated(nn.Module):
    """A linear module with a trained factor for each of its outputs."""

    def __init__(self, linear: nn.Linear, start: float) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.gate = nn.Parameter(torch.full((linear.out_features,), start))

    def forward(self, rows: Tensor) -> Tensor:
        gated: Tensor = self.linear(rows) * self.gate
        return gated


@dataclass(frozen=True)
class Gates(Surgery):
    """Gates on the feed-forward outputs of every layer.

    Attributes:
        path: of the linear module, inside a layer.
        start: of every gate.
    """

    path: str = "intermediate.dense"
    start: float = 1.0

    def add(self, model: LanguageModel) -> None:
        """See `Surgery.add`."""
        for layer in model.layers:
            owner, _, leaf = self.path.rpartition(".")
            linear = layer.get_submodule(self.path)
            setattr(layer.get_submodule(owner), leaf, Gated(linear, self.start))

    @torch.no_grad()
    def merge(self, model: LanguageModel) -> None:
        """See `Surgery.merge`."""
        for layer in model.layers:
            owner, _, leaf = self.path.rpartition(".")
            gated = layer.get_submodule(self.path)
            gated.linear.weight.mul_(gated.gate[:, None])
            gated.linear.bias.mul_(gated.gate)
            setattr(layer.get_submodule(owner), leaf, gated.linear)
