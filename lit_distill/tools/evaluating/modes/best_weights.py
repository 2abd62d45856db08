"""The weights of the best validation, kept while a model is fine-tuned."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lit_distill.errors import UserError
from lit_distill.training.distillation import Distillation


class BestWeights(Callback):
    """Keeps what trains as it was at the best validation, and puts it back when training ends.

    Frozen weights are not copied. Validations that measure nothing (there is no validation text, or
    the number is not finite) change nothing; without any, the last weights stay.

    Args:
        metric: what is best, by its name in the measure; None: what that is sorted by.

    Attributes:
        best: the best value, the larger the better; None before the first validation.
        weights: of then, by name.
    """

    def __init__(self, metric: str | None) -> None:
        self.metric = metric
        self.best: float | None = None
        self.weights: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks whether there is such a metric.

        Raises:
            UserError: there is none.
        """
        known = [metric.name for metric in Distillation.of(pl_module).measure.metrics]
        if self.metric is not None and self.metric not in known:
            raise UserError(
                f"FineTuning.metric is {self.metric!r}, and validation measures "
                f"{', '.join(known)}: choose one of these."
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copies the weights where they are better than ever before."""
        method = Distillation.of(pl_module)
        metrics = {metric.name: metric for metric in method.measure.metrics}
        chosen = metrics[self.metric or method.measure.metrics[0].name]
        value = method.measurements["student"].mean.get(chosen.name)
        if value is None or value != value:
            return
        value = -value if chosen.smaller_is_better else value
        if self.best is None or value > self.best:
            self.best = value
            self.weights = {
                name: parameter.detach().cpu().clone()
                for name, parameter in method.students.named_parameters()
                if parameter.requires_grad
            }

    @torch.no_grad()
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the best weights back."""
        own = dict(Distillation.of(pl_module).students.named_parameters())
        for name, kept in self.weights.items():
            own[name].copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        """The best so far, so that an interrupted training goes on with it."""
        return {"best": self.best, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the best of before over."""
        self.best, self.weights = state_dict["best"], state_dict["weights"]
