"""Losses of states that compare the texts of a batch with each other.

Shapes: M real positions, B texts, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_distill.batch import Batch, read_ids


@dataclass(frozen=True)
class Texts:
    """Which text each real position of a batch belongs to.

    Attributes:
        number: (M,) int64, ascending from 0.
        lengths: (B,) int64, real positions of each text; at least one.
        over_ranks: whether the texts of all ranks are compared, as in training; see `gathered`.
    """

    number: Tensor
    lengths: Tensor
    over_ranks: bool = False

    @classmethod
    def of(cls, batch: Batch, over_ranks: bool = False) -> Texts:
        """The texts of a batch: its rows, or what packed rows hold. Waits for no device.

        Args:
            batch: with `tokens`.
            over_ranks: see `Texts`.
        """
        tokens, (count, width) = batch["tokens"], read_ids(batch).shape
        number = tokens // width
        if "segments" in batch:
            places = number * (width + 1) + batch["segments"].flatten().index_select(0, tokens)
            begins = torch.ones_like(places, dtype=torch.bool)
            begins[1:] = places[1:] != places[:-1]
            number, count = begins.cumsum(0) - 1, batch["counts"]["sequences"]
        lengths = number.new_zeros(count).scatter_add(0, number, torch.ones_like(number))
        return cls(number, lengths, over_ranks)

    @property
    def starts(self) -> Tensor:
        """(B,) the place of each text's first position among all M."""
        return self.lengths.cumsum(0) - self.lengths

    def firsts(self, rows: Tensor) -> Tensor:
        """The state (B, D) of each text's first position, of those of all (M, D)."""
        return rows.index_select(0, self.starts)

    def means(self, rows: Tensor) -> Tensor:
        """The mean (B, D) of each text's states (M, D), in at least float32."""
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        sums = torch.segment_reduce(rows, "sum", lengths=self.lengths, axis=0, unsafe=True)
        return sums / self.lengths.unsqueeze(1)


class CoupledStateLoss(ABC):
    """A loss of two models' states in which the other texts of the batch have a part.

    A frozen dataclass of its hyper-parameters; what it trains is in the module that it builds. Its
    value depends on how many texts are compared, so gradients cannot be accumulated.
    """

    @property
    @abstractmethod
    def per(self) -> str:
        """What its sums are divided by: a name of `batch["counts"]`."""

    @abstractmethod
    def build(self, student: int, teacher: int) -> nn.Module:
        """A fresh module whose call computes the loss of one pair of states.

        The call `module(student, teacher, texts)` gives the sum over its units, in at least
        float32, from the states (M, D_S) and (M, D_T) of all real positions and their `Texts`. The
        teacher's are given no gradient. Every call reads all parameters.

        Args:
            student: D_S, the width of its states.
            teacher: D_T, of the teacher's.

        Raises:
            UserError: states of these widths cannot be compared.
        """

    def check(self, causal: bool) -> None:  # noqa: B027 (most fit any model)
        """Refuses models that it says nothing about.

        Args:
            causal: whether a position reads only those before it.

        Raises:
            UserError: these are such models.
        """
