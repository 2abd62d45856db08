"""The contract of losses of single rows of logits: what a loss offers, and what it is given.

Shapes: N rows, V vocabulary, R rows of one block.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from lit_distill.batch import IGNORED

Given = TypeVar("Given")

Scale = float | Tensor
"""A number, or a tensor of one element (which costs no host synchronisation on a GPU)."""


class RowLoss(Protocol):
    """A loss with one value per row of logits; a frozen dataclass of its hyper-parameters.

    Attributes:
        needs_teacher: whether it compares with teacher logits.
        needs_targets: whether it reads targets; it is then zero, with zero gradient, on rows whose
            target is `IGNORED`.
    """

    needs_teacher: ClassVar[bool]
    needs_targets: ClassVar[bool]

    def __call__(self, student: Tensor, teacher: Tensor | None, targets: Tensor | None) -> Tensor:
        """The formula: values (N,) from logits (N, V) and targets (N,), differentiable.

        Softmaxes and the result are in at least float32; float64 stays float64.
        """
        ...

    def on_block(self, block: Block, scale: Scale | None) -> tuple[Tensor, Tensor | None]:
        """Values and gradient at once, without autograd, for `linear_losses`.

        Args:
            block: finite logits of R rows; what `block` hands out is shared by all losses and must
                not be written to.
            scale: factor of the gradient; None where no gradient is wanted.

        Returns:
            values (R,), and `scale` times the gradient of their sum with respect to the student's
            logits: a fresh tensor (R, V), or None where `scale` is None.
        """
        ...


class SoftLoss(ABC):  # noqa: B024 (a name for what a config can choose from)
    """A loss of what a teacher says about a decision: what a config can name as a soft target."""


class HardLoss(ABC):  # noqa: B024 (likewise)
    """A loss of what is right, as the data says: a target, or a number."""


class Softened:
    """Softmax(logits / temperature) of a block of rows.

    Attributes:
        shifted: (R, V) logits / temperature, less their row's maximum.
        probabilities: (R, V).
    """

    def __init__(self, logits: Tensor, maxima: Tensor, temperature: float) -> None:
        # The shift keeps a large common offset of the logits out of every difference.
        self.shifted = torch.sub(logits, maxima)
        if temperature != 1:
            self.shifted.mul_(1 / temperature)
        self.probabilities = torch.softmax(self.shifted, -1)

    @cached_property
    def log_normaliser(self) -> Tensor:
        """(R,) log of the sum of exp(shifted): the likeliest entry has shifted = 0."""
        return -self.probabilities.amax(-1).log_()

    @cached_property
    def log_probabilities(self) -> Tensor:
        """(R, V); finite, however small the probability."""
        return self.shifted - self.log_normaliser.unsqueeze(-1)


class Distribution(Protocol):
    """One distribution per row.

    Attributes:
        probabilities: (R, M).
        log_probabilities: (R, M), finite.
    """

    @property
    def probabilities(self) -> Tensor: ...  # noqa: D102

    @property
    def log_probabilities(self) -> Tensor: ...  # noqa: D102


class Comparison(Protocol):
    """What a signal needs to know of a divergence.

    Attributes:
        temperature: of both distributions.
        allows_bucketing: whether it stays the same when entries to which the teacher gives nothing
            are made one.
    """

    @property
    def temperature(self) -> float: ...  # noqa: D102

    @property
    def allows_bucketing(self) -> bool: ...  # noqa: D102

    def with_slope(self, p: Distribution, q: Distribution) -> tuple[Tensor, Tensor]:
        """Values (R,), and dD / d log q (R, M): a fresh tensor, which may lack a multiple of q."""
        ...


class BlockSignal(Protocol):
    """What the teacher's signal says about a block of rows."""

    def against(self, divergence: Comparison, q: Softened) -> tuple[Tensor, Tensor]:
        """Values (R,), and T times the gradient with respect to the student's logits (R, V)."""
        ...


class BlockLogits:
    """Logits (R, V) of a block of rows, in at least float32, with softmaxes on demand."""

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self._softened: dict[float, Softened] = {}

    @cached_property
    def _maxima(self) -> Tensor:
        return self.values.amax(-1, keepdim=True)

    def at(self, temperature: float) -> Softened:
        """The distributions at a temperature, computed once for all losses that use it."""
        if temperature not in self._softened:
            self._softened[temperature] = Softened(self.values, self._maxima, temperature)
        return self._softened[temperature]

    def against(self, divergence: Comparison, q: Softened) -> tuple[Tensor, Tensor]:
        """See `BlockSignal`."""
        return compare(divergence, self.at(divergence.temperature), q)


@dataclass(frozen=True)
class Block:
    """A block of rows as the losses see it.

    Attributes:
        student: logits (R, V).
        signal_or_none: what the teacher says, if there is one.
        targets_or_none: (R,) token ids or `IGNORED`, if there are targets.
    """

    student: BlockLogits
    signal_or_none: BlockSignal | None = None
    targets_or_none: Tensor | None = None

    @property
    def signal(self) -> BlockSignal:
        """What the teacher says, for divergences."""
        return required(self.signal_or_none, "teacher logits")

    @property
    def teacher(self) -> BlockLogits:
        """The teacher's logits, for losses that compare more than distributions.

        Raises:
            ValueError: the signal has none.
        """
        if not isinstance(self.signal, BlockLogits):
            raise ValueError(
                "This loss compares logits, and the teacher's signal is of distributions only: use "
                "a divergence, or a single teacher."
            )
        return self.signal

    @property
    def targets(self) -> Tensor:
        """The targets, for losses with `needs_targets`."""
        return required(self.targets_or_none, "targets")


def compare(divergence: Comparison, p: Distribution, q: Distribution) -> tuple[Tensor, Tensor]:
    """Values (R,), and T times the gradient with respect to the logits of q: s - q sum_v s_v."""
    values, slope = divergence.with_slope(p, q)
    return values, slope.addcmul_(q.probabilities, slope.sum(-1, keepdim=True), value=-1)


def upcast(logits: Tensor) -> Tensor:
    """The logits in at least float32: sums over a vocabulary in 8 or 11 bits are worth nothing."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def log_softmax(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Log softmax(logits / temperature) over the last dimension, in at least float32."""
    logits = upcast(logits)
    if temperature != 1:
        # Shifted before it is divided, so that rounding cannot depend on a common offset.
        logits = (logits - logits.detach().amax(-1, keepdim=True)) / temperature
    return torch.log_softmax(logits, -1)


def required(given: Given | None, what: str) -> Given:
    """What a loss cannot do without.

    Raises:
        ValueError: it was not given.
    """
    if given is None:
        raise ValueError(f"This loss needs {what}, and none were given.")
    return given


def index_of(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Targets (N, 1) fit for gather, and which of them count (N,)."""
    counted = targets != IGNORED
    return targets.where(counted, 0).unsqueeze(1), counted
