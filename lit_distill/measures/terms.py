"""What is measured of a student whose outputs nobody trained: the method's own losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from lit_distill.batch import Batch, as_written
from lit_distill.errors import UserError
from lit_distill.losses import AccumulationWindow, weight_at
from lit_distill.measures.measure import Measure, Measurement, MetricSpec, Scores

Sums = dict[str, tuple[float, float, float]]
"""Sum, count and weight of every term."""

LOSS = MetricSpec("loss", "loss", monitored=True, figure="held-out loss of the method")


class TermMeasure(Measure):
    """The terms of the method's `losses` on validation text of which no token is hidden.

    Logits of a head that nobody trained say nothing. `val/<term>` is the mean of a term over all of
    the text, and `val/loss` their sum by the weights of the run's end, those of its last stage, so
    that all validations of a run can be compared.
    """

    metrics: Sequence[MetricSpec] = (LOSS,)
    caption = "the method's own losses, by language and, in the last line, over all of the text."

    def start(self) -> None:
        """See `Measure`.

        Raises:
            UserError: the method compares with a teacher, and there is none.
        """
        if self.method.hears and not self.method.teachers:
            raise UserError(
                f"{type(self.method).__name__} trains no language-model head, so its student can "
                "only be compared with its teacher, and that is not there: give model.init_args."
                "teacher.name, or fit a head (MaskedLM, freeze_body) and measure that."
            )
        self._sums: Sums = {}
        self._by_language: dict[int, Sums] = {}

    def update(self, batch: Batch) -> None:
        """See `Measure`."""
        self.add(as_written(batch), self.method.stages.last_factor)

    def add(self, batch: Batch, factor: Callable[[str], float], leave_out: bool = False) -> None:
        """Adds the sums of one batch.

        Args:
            batch: of this rank.
            factor: of the weight of a term of a name.
            leave_out: whether terms of the factor 0 are not computed.
        """
        window = AccumulationWindow.single(batch)
        if leave_out:
            window.factor = factor
        # Loaders have one language each; where others mix them, there are numbers of all alone.
        languages = {*batch["language"].tolist()} if "language" in batch else set[int]()
        sums = [self._sums]
        if len(languages) == 1:
            sums.append(self._by_language.setdefault(languages.pop(), {}))
        for name, term in self.method.losses(batch, window).items():
            weight, summed = weight_at(term.weight, 1.0) * factor(name), term.sum.item()
            for own in sums:
                total, count, _ = own.get(name, (0.0, 0.0, 0.0))
                own[name] = (total + summed, count + batch["counts"][term.per], weight)

    def compute(self) -> dict[str, Measurement]:
        """See `Measure`."""
        parts = [(self._sums, self._by_language)]
        if self.method.trainer.world_size > 1:
            parts = parts * self.method.trainer.world_size
            torch.distributed.all_gather_object(parts, (self._sums, self._by_language))
        mean = _means([whole for whole, _ in parts])
        terms = [name for name in mean if name != LOSS.name]
        self.metrics = (LOSS, *(MetricSpec(name, name, monitored=True) for name in terms))
        numbers = {number for _, own in parts for number in own}
        languages = {
            name: _means([own[number] for _, own in parts if number in own])
            for number, name in enumerate(self.method.data_facts.languages)
            if number in numbers
        }
        return {name: Measurement(languages, mean) for name in self.method.students if mean}


def _means(parts: Sequence[Sums]) -> Scores:
    """The weighted sum of all terms' means over several ranks, and every one of them."""
    means, loss = {}, 0.0
    for name in sorted({name for part in parts for name in part}):
        found = [part[name] for part in parts if name in part]
        means[name] = sum(p[0] for p in found) / max(sum(p[1] for p in found), 1)
        loss += found[0][2] * means[name]
    return {"loss": loss, **means} if means else {}
