"""Mutual information of states as a loss: Distiller's MI-alpha.

Shapes: M real positions, n units of this rank (texts or positions), N of all ranks, D_S the
student's width, D_T the teacher's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lit_distill.errors import UserError
from lit_distill.knobs import Count, Share, check_knobs
from lit_distill.losses.coupled_states import CoupledStateLoss, Texts
from lit_distill.losses.information import interpolated_bounds
from lit_distill.losses.over_ranks import gathered
from lit_distill.losses.rows.row_loss import upcast
from lit_distill.training.states.critics import CosineCritic, Critic, network

Unit = Literal["mean", "first", "token"]


@dataclass(frozen=True)
class MutualInformation(CoupledStateLoss):
    """-I_alpha(X; Y), x the student's vectors and y the teacher's: MI-alpha (He et al., 2021).

        I_alpha = 1 + E_joint[log r] - E_marginal[r],   r = e^f(x,y) / (alpha m(y) + (1-alpha) q(y))

    A lower bound of what the student's states say about the teacher's (in nats): each y is to find
    its own x among those of the whole batch, over all ranks. f is a critic, m the mean of e^f over
    K of the batch's x, q a trained baseline. Critic and baseline are trained with the student, to
    raise the same bound. It is negative where something is learnt, and no distance: a copy of the
    teacher does not have 0.

    K is the number of units of the batch without one: the value depends on it, and with alpha = 1
    never goes below -log K. So batches of other sizes have other values. A batch of a single text
    has nothing to compare and counts 0, the bound that always holds, without a gradient.

    Attributes:
        alpha: 1 is InfoNCE: little variance, and blind beyond log K nats. 0 is the bound of the
            baseline alone: hardly biased, with large variance.
        critic: f.
        baseline: log q: a "network" of y with one hidden layer, or a "constant"; both start at 0.
            alpha = 1 has none.
        hidden: width of the network's hidden layer.
        unit: what is compared: the "mean" of a text's states or its "first" one, a vector a text;
            or every "token", whose own text is then left out of the others. Costs n x N numbers
            several times over, which is much for tokens.

    Source: the bound is the nonlinearly interpolated one of Poole et al.
    (https://arxiv.org/abs/1905.06922), as we read it; Distiller is
    https://arxiv.org/abs/2109.11105, of whose code we know nothing.
    """

    alpha: Share = 0.5
    critic: Critic = CosineCritic()  # noqa: RUF009 (frozen)
    baseline: Literal["network", "constant"] = "network"
    hidden: Count = 128
    unit: Unit = "mean"

    def __post_init__(self) -> None:
        check_knobs(MutualInformation, vars(self))

    @property
    def per(self) -> str:
        """See `CoupledStateLoss`."""
        return "tokens" if self.unit == "token" else "sequences"

    def check(self, causal: bool) -> None:
        """See `CoupledStateLoss`."""
        if causal and self.unit == "first":
            raise UserError(
                "MutualInformation.unit is first, and the first token of a decoder has read nothing"
                " of its text: use mean or token."
            )

    def build(self, student: int, teacher: int) -> nn.Module:
        """See `CoupledStateLoss`."""
        critic, baseline = self.critic.build(student, teacher), None
        if self.alpha < 1:  # a parameter without a gradient would stop distributed training
            named = self.baseline == "network"
            baseline = _Network(teacher, self.hidden) if named else _Constant()
        return _Information(self.alpha, self.unit, critic, baseline)


class _Information(nn.Module):
    """The loss of one pair of states; called as a whole, so that it can be sharded."""

    def __init__(
        self, alpha: float, unit: Unit, critic: nn.Module, baseline: nn.Module | None
    ) -> None:
        super().__init__()
        self.alpha, self.unit = alpha, unit
        self.critic, self.baseline = critic, baseline

    def forward(self, student: Tensor, teacher: Tensor, texts: Texts) -> Tensor:
        """The sum over units; see `CoupledStateLoss.build`."""
        weights = next(self.parameters(), None)
        dtype = upcast(student).dtype if weights is None else weights.dtype
        x, y = (self._units(states, texts).to(dtype) for states in (student, teacher.detach()))
        ours, theirs = map(upcast, self.critic(x, y))
        log_q = None if self.baseline is None else upcast(self.baseline(y))
        every, first = gathered(ours) if texts.over_ranks else (ours, 0)
        with torch.autocast(every.device.type, enabled=False):
            number = texts.number if self.unit == "token" else None
            bounds = interpolated_bounds(theirs @ every.T, log_q, self.alpha, first, number)
            return -bounds.sum()

    def _units(self, states: Tensor, texts: Texts) -> Tensor:
        if self.unit == "token":
            return states
        return texts.means(states) if self.unit == "mean" else texts.firsts(states)


class _Network(nn.Module):
    """log q(y), which starts at 0."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = network(width, hidden, 1)
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, teacher: Tensor) -> Tensor:
        """(n,) from (n, D_T)."""
        found: Tensor = self.layers(teacher).squeeze(-1)
        return found


class _Constant(nn.Module):
    """log q, which starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.log_q = nn.Parameter(torch.zeros(1))

    def forward(self, teacher: Tensor) -> Tensor:
        """(n,) from (n, D_T)."""
        return self.log_q.expand(len(teacher))
