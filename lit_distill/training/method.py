"""What a method says: the part of `Distillation` that its author writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from lit_distill.batch import Reading
from lit_distill.losses import AccumulationWindow, Term
from lit_distill.measures import LanguageModelMeasure, Measure, Measurement
from lit_distill.models import Hears, Predicted
from lit_distill.training.updates import Players


class Method(ABC):
    """The override points of `Distillation`; only `losses` must be given.

    Attributes:
        measured_by: what validation and test measure of the students.
        hears: what the method needs of its teacher while it trains; None: it has none.
        needs_head: whether it asks models for logits; False: models without a head will do.
        shares_vocabulary: whether its teacher reads the student's token ids; False: it reads a view
            of the batch made by its own tokenizer (`teach(batch, view="src_")`), whose positions
            are others.
        takes_view: whether its teacher reads the view `teacher_` of a batch that has one, cut by
            `DataFacts.teacher_tokenizer`; what its outputs stand for is the student's all the same.
        takes_several: whether it trains several students.
        by_task: whether each student has a task of its own, whose name it has: its head is that
            task's, its teacher the one of that name, and its outputs are compared with no other's.
        predicts: what its students may predict; without `needs_head`, anything.
        reads: what it can be trained on, the usual one first; nothing named: on anything.
        alone: knobs with which it learns from the data alone, without its teacher; None: it cannot,
            and `SupervisedKD` is its control.
        couples: names of terms over pairs of texts, or with a mean of them all inside; see
            `losses.over_ranks`.
    """

    measured_by: ClassVar[type[Measure]] = LanguageModelMeasure
    hears: Hears | None = None
    needs_head: ClassVar[bool] = True
    shares_vocabulary: ClassVar[bool] = True
    predicts: ClassVar[tuple[Predicted, ...]] = (
        Predicted.TOKENS,
        Predicted.TEXT_LABELS,
        Predicted.TOKEN_LABELS,
    )
    takes_view: ClassVar[bool] = False
    takes_several: ClassVar[bool] = False
    by_task: ClassVar[bool] = False
    reads: ClassVar[tuple[Reading, ...]] = ()
    alone: ClassVar[Mapping[str, Any] | None] = None
    couples: tuple[str, ...] = ()

    @abstractmethod
    def losses(self, batch: Any, window: AccumulationWindow) -> dict[str, Term]:
        """The method: its named terms on one micro-batch, as sums.

        Args:
            batch: one of the window's; in validation its only one. A method's own signature names
                the kind of `lit_distill.batch` whose keys it reads: `Batch` if any will do.
            window: the update that the batch belongs to, for `logit_terms`: what sums will be
                divided by and weighed with.
        """

    def on_models_built(self) -> None:  # noqa: B027 (may be left as it is, like the others)
        """Called with whole models, before anything wraps or shards them: to refuse or freeze."""

    def prepare(self, batches: list[Any]) -> list[Any]:
        """Changes an update's micro-batches, which `losses` reads, before the first of them."""
        return batches

    def on_window_opened(self, window: AccumulationWindow) -> None:  # noqa: B027
        """Called with an update's prepared micro-batches and their counts on all ranks."""

    def window_figures(self, window: AccumulationWindow) -> dict[str, float]:
        """More numbers of an update, logged as `train/<name>` beside the means of its terms."""
        return {}

    def players(self, update: int) -> Players:
        """Who moves in an update (from 0): a function of the number alone, as runs are resumed."""
        return None

    def on_validated(self, measurements: dict[str, Measurement]) -> None:  # noqa: B027
        """Called after each validation of a fit, its trial excepted: for methods that adapt."""
