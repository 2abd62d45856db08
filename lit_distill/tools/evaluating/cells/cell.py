"""What became of one cell of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from lit_distill.tools.evaluating.cells.predictions import Predictions


@dataclass(frozen=True)
class CellResult:
    """A model asked about a task under one seed.

    Attributes:
        model: its name in the evaluation.
        task: likewise.
        seed: of everything random.
        predictions: what it said about the test split; None where the cell broke.
        seconds: that it took.
        error: why it broke, in one line; "" where it did not.
    """

    model: str
    task: str
    seed: int
    predictions: Predictions | None
    seconds: float
    error: str = ""
