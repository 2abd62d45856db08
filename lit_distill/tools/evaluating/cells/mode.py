"""How a model is asked about a task: the interface of all modes of an evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lightning.pytorch import LightningDataModule

from lit_distill.tools.evaluating.cells.predictions import Predictions


@dataclass(frozen=True)
class Question:
    """One cell: a model, a task's data and a seed.

    Attributes:
        model: folder or hub name.
        data: of the task; not set up yet, and without a tokenizer unless the user gave one. A mode
            that reads it with the model's own tokenizer sets that one.
        seed: of everything random.
        folder: where the mode may keep what it needs to go on after a stop; removed at its end.
    """

    model: str
    data: LightningDataModule
    seed: int
    folder: Path


class Mode(ABC):
    """A way to ask; a frozen dataclass of its settings, which a config names by `class_path`.

    Attributes:
        random: whether seeds make a difference; else a model is asked once.
        labels: whether it gives the labels of the data; baselines then can do so as well.
    """

    random: ClassVar[bool] = True
    labels: ClassVar[bool] = False

    def check(self, model: str, data: LightningDataModule) -> None:  # noqa: B027 (often nothing)
        """Called before any cell runs: to refuse a task, and to read what is read once.

        Args:
            model: folder or hub name.
            data: as of `Question`.

        Raises:
            UserError: the data cannot be asked about so, or not by this model.
        """

    @abstractmethod
    def predict(self, question: Question) -> Predictions:
        """What the model says about the test split (of all its languages).

        Raises:
            UserError: the model or the data cannot be asked so.
        """
