"""KL at a temperature of each row's own: lower where the student is far from its teacher.

Shapes: N rows, V outputs, R rows of a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lit_distill.errors import UserError
from lit_distill.knobs import NotNegative, Temperature, check_knobs
from lit_distill.losses.rows.divergences import ForwardKL
from lit_distill.losses.rows.row_loss import Block, BlockLogits, Scale, SoftLoss, required, upcast


@dataclass(frozen=True)
class DynamicTemperatureKL(SoftLoss):
    """KL(p_i || q_i) at T_i = T0 + beta (mean_j w_j - w_i), with a row's distance w_i.

        w_i = (1 - cos(z_student, z_teacher))^gamma      of the raw logits of row i

    T_i is constant to the gradient, as are the w it is made of. The mean is over all rows that
    learn together, so the rows are coupled: `around` a mean each is a row of its own again. beta =
    0 and gamma = 0 are `ForwardKL(T0)`.

    `t_squared` multiplies by T0^2, the same for all rows: where they are far apart they count more,
    as in the source, and the size of the gradient hardly depends on T0.

    Source: dynamic temperature distillation with focal-loss-style weights (FLSW), Wen et al.
    (2019), https://arxiv.org/abs/1911.07471; as N-LTP trains with it (HIT-SCIR/ltp@0f43160,
    ltp/multitask_distill.py): T0 = 8, beta = gamma = 1, a mean over the words of a micro-batch, no
    T^2, so that its gradients are 64 times smaller than here, a soft cross-entropy, whose gradient
    is this one's, and 1e-4 added to every norm of logits.

    Args:
        temperature: T0 > beta 2^gamma, so that no T_i can fall to 0.
        beta: how far temperatures move, >= 0.
        gamma: power of the distance, >= 0.
        t_squared: whether to multiply by T0^2.

    Raises:
        UserError: temperatures could fall to 0.
    """

    temperature: Temperature = 8.0
    beta: NotNegative = 1.0
    gamma: NotNegative = 1.0
    t_squared: bool = True

    def __post_init__(self) -> None:
        check_knobs(type(self), vars(self))
        most = self.beta * 2**self.gamma
        if self.temperature <= most:
            raise UserError(
                f"DynamicTemperatureKL: at temperature {self.temperature:g} with beta "
                f"{self.beta:g} and gamma {self.gamma:g}, temperatures of rows could fall to "
                f"{self.temperature - most:g}: use a temperature above beta 2^gamma = {most:g}."
            )

    @property
    def factor(self) -> float:
        """T0^2 where it is asked for."""
        return self.temperature**2 if self.t_squared else 1.0

    def distances(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The w_i (N,) of logits (N, V), outside of any graph; in [0, 2^gamma].

        Entries that either model switches off (-inf) are left out. A row of zeros has no direction:
        it is as far from every other as orthogonal ones are.
        """
        logits = upcast(student.detach()), upcast(teacher.detach())
        kept = [each > torch.finfo(each.dtype).min / 128 for each in logits]
        one, other = (_directions(each.where(kept[0] & kept[1], 0.0)) for each in logits)
        straight = one.ne(0).any(-1) & other.ne(0).any(-1)
        # Half the squared distance of the unit vectors is 1 - cos, and zero where they agree.
        apart = torch.where(straight, (one - other).square().sum(-1) / 2, 1.0)
        return apart**self.gamma

    def around(self, mean: float | Tensor) -> CentredKL:
        """The loss of single rows, given the mean of all w: a `RowLoss`.

        Args:
            mean: of the `distances` of all rows that learn together; a number or a scalar tensor.
        """
        return CentredKL(self, mean)


@dataclass(frozen=True)
class CentredKL:
    """A `DynamicTemperatureKL` whose mean distance is known.

    Attributes:
        loss: whose rows these are.
        mean: of all w.
    """

    loss: DynamicTemperatureKL
    mean: float | Tensor

    needs_teacher: ClassVar[bool] = True
    needs_targets: ClassVar[bool] = False

    def __call__(
        self, student: Tensor, teacher: Tensor | None = None, targets: Tensor | None = None
    ) -> Tensor:
        """Values (N,); see `RowLoss`."""
        del targets
        teacher = required(teacher, "teacher logits")
        temperatures = self._temperatures(student, teacher)
        softened = (_shifted(logits) / temperatures for logits in (student, teacher))
        return ForwardKL()(*softened) * self.loss.factor

    def on_block(self, block: Block, scale: Scale | None) -> tuple[Tensor, Tensor | None]:
        """See `RowLoss.on_block`."""
        logits = block.student.values, block.teacher.values
        temperatures, factor = self._temperatures(*logits), self.loss.factor
        student, teacher = (BlockLogits(_shifted(each) / temperatures) for each in logits)
        values, gradient = ForwardKL().on_block(Block(student, teacher), scale)
        if gradient is not None:
            gradient.mul_(factor / temperatures)
        return values * factor, gradient

    def _temperatures(self, student: Tensor, teacher: Tensor) -> Tensor:
        """T_i (N, 1)."""
        own = self.loss.distances(student, teacher)
        return (self.loss.temperature + self.loss.beta * (self.mean - own)).unsqueeze(-1)


def _shifted(logits: Tensor) -> Tensor:
    """Logits less their row's maximum, so that rounding cannot depend on a common offset."""
    logits = upcast(logits)
    return logits - logits.detach().amax(-1, keepdim=True)


def _directions(logits: Tensor) -> Tensor:
    """Rows of length 1 (N, V); rows of zeros stay so."""
    largest = logits.abs().amax(-1, keepdim=True)
    logits = logits / torch.where(largest == 0, 1.0, largest)  # whose squares do not overflow
    norms = logits.norm(dim=-1, keepdim=True)
    return logits / torch.where(norms == 0, 1.0, norms)
