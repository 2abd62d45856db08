"""What the losses of a run are, and what of it they reach, found out on its first batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from lit_distill.losses import AccumulationWindow
from lit_distill.models import reached_by
from lit_distill.training.stages.stage import Stage
from lit_distill.training.stages.staged_method import StagedMethod


def term_names(module: StagedMethod, window: AccumulationWindow) -> list[str]:
    """The names of all terms of a method.

    Args:
        module: the method.
        window: an update that has not begun; nothing of it is changed.
    """
    with _aside(module), torch.no_grad():
        return list(module.losses(window.batches[0], replace(window, factor=None)))


def reached_in(module: StagedMethod, window: AccumulationWindow, stage: Stage) -> set[nn.Parameter]:
    """The parameters that the terms of a stage give a gradient, of those that require one.

    Args:
        module: the method.
        window: an update that has not begun; nothing of it is changed.
        stage: whose terms.
    """
    own = replace(window, factor=stage.factor)
    with _aside(module), torch.enable_grad():
        terms = own.weighed(module.losses(own.batches[0], own))
        return reached_by(term.sum for term in terms.values())


@contextmanager
def _aside(module: StagedMethod) -> Iterator[None]:
    """The numeric surroundings of a training step that draws no random number of the run's."""
    device = module.device
    precision = module.trainer.precision_plugin
    with (
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        precision.train_step_context(),
    ):
        yield
