"""How several teachers are heard as one.

Shapes: N rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch
from torch import Tensor

from lit_distill.errors import UserError
from lit_distill.knobs import Positive, check_knobs
from lit_distill.losses import (
    Head,
    MeanOfLogits,
    MeanOfProbabilities,
    SumOfDivergences,
    TeacherSignal,
)
from lit_distill.models.teachers.teacher import TeacherSpec

Result = TypeVar("Result")

COMBINED: dict[str, Callable[[tuple[Head, ...], tuple[float, ...]], TeacherSignal]] = {
    "probabilities": MeanOfProbabilities,
    "logits": MeanOfLogits,
    "divergences": SumOfDivergences,
}


@dataclass(frozen=True)
class Ensemble:
    """More teachers beside the first, and how all of them are heard as one.

    Attributes:
        others: by name; all read the same text with the same vocabulary, their widths may differ.
        weights: of the first teacher and of the others, in order; None: equal ones. They are
            divided by their sum.
        combine: "probabilities": the student learns the mean of the teachers' distributions;
            "logits": of their logits; "divergences": from each one, the losses are averaged.

    Raises:
        UserError: the weights do not fit.
    """

    others: dict[str, TeacherSpec] = field(default_factory=dict)
    weights: list[Positive] | None = None
    combine: Literal["probabilities", "logits", "divergences"] = "probabilities"

    def __post_init__(self) -> None:
        check_knobs(Ensemble, vars(self))
        if self.weights is not None and len(self.weights) != 1 + len(self.others):
            raise UserError(
                f"ensemble.weights is {self.weights}; give {1 + len(self.others)} positive "
                "numbers: of the first teacher and of each other one."
            )
        if "teacher" in self.others:
            raise UserError("ensemble.others: the name `teacher` is the first teacher's.")

    def beside(self, first: TeacherSpec | None) -> dict[str, TeacherSpec]:
        """All teachers by name, the first one first.

        Raises:
            UserError: there are others and no first one.
        """
        if first is None and self.others:
            raise UserError(
                f"ensemble.others names {', '.join(self.others)} and there is no first teacher: "
                "set model.init_args.teacher.name."
            )
        return {} if first is None else {"teacher": first, **self.others}

    @property
    def shares(self) -> tuple[float, ...]:
        """Weights that sum to 1."""
        weights = self.weights or [1.0] * (1 + len(self.others))
        return tuple(weight / sum(weights) for weight in weights)

    def signal(self, heads: Sequence[Head]) -> TeacherSignal:
        """What `linear_losses` reads."""
        return heads[0] if len(heads) == 1 else COMBINED[self.combine](tuple(heads), self.shares)

    def logits(self, each: Sequence[Tensor]) -> Tensor:
        """One set of logits (N, V) out of one of each teacher: of the mean that is learnt from."""
        if len(each) == 1:
            return each[0]
        if self.combine == "logits":
            return torch.stack([w * z for w, z in zip(self.shares, each, strict=True)]).sum(0)
        wide = torch.promote_types(each[0].dtype, torch.float32)
        shares = torch.tensor(self.shares, dtype=wide, device=each[0].device).log()
        log_p = torch.stack([torch.log_softmax(z, -1, dtype=wide) for z in each])
        return (log_p + shares.view(-1, 1, 1)).logsumexp(0)
