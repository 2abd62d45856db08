"""What a model with the head of a task says about every example of a test split.

Shapes: N rows of a batch, V outputs of each, D decisions, C choices of each.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from numpy.typing import NDArray
from torch import Tensor

from data_modules import LabelledCorpus
from lit_distill.batch import LabelledBatch, read_ids
from lit_distill.models import LanguageModel, decision_logits
from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions

IMPOSSIBLE = -1e4
"""Log-probability of a choice that an example does not have."""


@torch.no_grad()
def answers(model: LanguageModel, data: LabelledCorpus, kind: Kind) -> Predictions:
    """The model's predictions about the test split, in the order of the data.

    Args:
        model: with the head of the task.
        data: set up, and attached to a Trainer.
        kind: of the predictions.

    Raises:
        UserError: there are no test texts.
    """
    model.eval()
    batches = (cast(LabelledBatch, batch) for part in data.test_dataloader() for batch in part)
    parts = [_of_batch(model, batch, kind) for batch in batches]
    widest = max(scores.shape[1] for *_, scores in parts)
    windows, language, targets = (
        np.concatenate([part[at].cpu().numpy() for part in parts]) for at in range(3)
    )
    scores = np.concatenate([_widened(part[3], widest) for part in parts])
    order = np.argsort(windows, kind="stable")  # the rows of a text stay in theirs
    labels = () if kind == Kind.VALUES else model.labels or tuple(map(str, range(widest)))
    return Predictions(
        kind,
        data.examples("test")[windows[order]],
        language[order],
        data.languages,
        targets[order].astype(np.float64),
        scores[order],
        labels,
    )


def _of_batch(
    model: LanguageModel, batch: LabelledBatch, kind: Kind
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Window, language, target and scores (D, C) of every decision."""
    batch = move_data_to_device(batch, next(model.parameters()).device)
    logits = decision_logits(model, batch, model.encode(batch)).double()
    rows = batch["rows"]
    if "options" in batch:  # a decision is where its first choice is
        rows = rows[batch["options"][:, 0] // model.outputs]
    text = rows // read_ids(batch).shape[1]
    places = batch["sample_id"][text], batch["language"][text]
    if kind == Kind.VALUES:
        return *places, batch["values"], logits
    return *places, batch["targets"], logits.log_softmax(-1).clamp(min=IMPOSSIBLE)


def _widened(scores: Tensor, width: int) -> NDArray[np.float64]:
    """Scores (D, C) with columns of options that no example of their batch has."""
    missing = ((0, 0), (0, width - scores.shape[1]))
    return np.pad(scores.cpu().numpy(), missing, constant_values=IMPOSSIBLE)
