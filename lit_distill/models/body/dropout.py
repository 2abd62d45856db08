"""Dropout of a model: how much, and random numbers of its own to draw it from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_DROPOUTS = ("dropout", "attention_dropout", "activation_dropout")


def set_dropout(model: nn.Module, probability: float) -> None:
    """Sets every dropout of a model; its config, and so an export, keeps its own values."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability
        for name in _DROPOUTS:  # probabilities that attention and feed-forward code applies
            if isinstance(vars(module).get(name), float):
                setattr(module, name, probability)


def keep_all_layers(model: nn.Module) -> None:
    """Switches LayerDrop off, which published M2M-100 have; the config keeps its own value.

    A dropped layer has no state to learn from, and no gradient, for which other ranks would wait.
    """
    for module in model.modules():
        if isinstance(vars(module).get("layerdrop"), float):
            module.layerdrop = 0.0  # type: ignore[assignment]


class RandomStream:
    """Random numbers of one model: whatever else draws some, it gets the same ones.

    They are a function of the seed, the model's name, the place in training and how often the model
    has drawn there. So models that are trained together get different ones, each gets those that it
    would get alone, and nothing has to be saved.

    Args:
        seed: of the run.
        name: of the model.
    """

    def __init__(self, seed: int, name: str) -> None:
        self.seed, self.name = seed, name
        self.move_to("initial weights")

    def move_to(self, *place: int | str) -> None:
        """Says where in training the model is: update, micro-batch, rank."""
        self._place, self._times = place, 0

    @contextmanager
    def drawn(self, device: torch.device) -> Iterator[None]:
        """Gives the next ones to whatever draws inside, and then puts back what was there.

        Args:
            device: on which they are drawn; those of the CPU are always the stream's.
        """
        key = f"{self.seed} {self.name} {self._place} {self._times}"
        self._times += 1
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield
