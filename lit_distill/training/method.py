"""What a method says: the part of `Distillation` that its author writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from lit_distill.batch import Batch
from lit_distill.losses import Term
from lit_distill.measures import LanguageModelMeasure, Measure, Measurement
from lit_distill.training.updates import Players


class Method(ABC):
    """The override points of `Distillation`; only `losses` must be given.

    Attributes:
        measured_by: what validation and test measure of the students.
        needs_teacher: whether it learns from a teacher.
        takes_several: whether it trains several students.
        couples: names of terms over pairs of texts of a batch; see `losses.gathered`.
    """

    measured_by: ClassVar[type[Measure]] = LanguageModelMeasure
    needs_teacher: ClassVar[bool] = False
    takes_several: ClassVar[bool] = False
    couples: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Term]:
        """The method: its named terms on one micro-batch, as sums."""

    def on_models_built(self) -> None:  # noqa: B027 (may be left as it is, like the others)
        """Called with whole models, before anything wraps or shards them: to refuse or freeze."""

    def prepare(self, window: list[Batch]) -> list[Batch]:
        """Changes the micro-batches of one accumulation window before its first (sampling)."""
        return window

    def players(self, update: int) -> Players:
        """Who moves in an update: names of students, and "auxiliary"; None: all.

        Args:
            update: its number, from 0. The answer follows from it alone: a run may be resumed.
        """
        return None

    def on_validated(self, measurements: dict[str, Measurement]) -> None:  # noqa: B027
        """Called after each validation of a fit, its trial excepted: for methods that adapt."""
