"""What methods share that train a body and not its language-model head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lit_distill.batch import Batch, Reading, as_written
from lit_distill.errors import UserError
from lit_distill.losses import weight_at
from lit_distill.models import (
    FreshStudent,
    copy_matching_weights,
    freeze_without_gradient,
    shortest_module_names,
)
from lit_distill.training.distillation import Distillation

Sums = dict[str, tuple[float, float, float]]
"""Sum, count and weight of every term."""


class HiddenStateMethod(Distillation):
    """A method whose losses read tensors inside the student, and not its logits.

    Parameters that no loss reaches are frozen before anything wraps the student; those of a
    `FreshStudent` start as the teacher's of the same name and shape. Validation measures the
    method's own losses, as `val/<term>` and `val/loss`: logits of a head that nobody trained say
    nothing. `MaskedLM` with `freeze_body` fits a head afterwards. Models without a head (sentence
    encoders) are read like others, and their students have none either.
    """

    needs_head = False
    reads = (Reading.PLAIN, Reading.NEXT, Reading.RESPONSES)  # whose ids are those of the text

    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self._figures: dict[str, dict[str, Any]] = {}

    @abstractmethod
    def probe_student(self) -> Sequence[Tensor]:
        """What the losses read of the student, on any small input."""

    def counterparts(self) -> dict[int, int]:
        """Student layers (from 0) and the teacher layers that their unreached parts start from."""
        return {}

    def on_models_built(self) -> None:
        """Freezes what no loss reaches; refuses teachers that nobody would hear."""
        if self.ensemble.others:
            raise UserError(
                f"{type(self).__name__} compares with one teacher, and model.ensemble names "
                f"{', '.join(self.ensemble.others)} too: leave it out."
            )
        with torch.enable_grad():
            frozen = freeze_without_gradient(self.student, self.probe_student())
        if self.student.anatomy.has_head:
            self.notes = [
                "its language-model head was not trained: fit one (MaskedLM, freeze_body)"
            ]
        (start,) = self.student_specs.values()
        if self.teachers and isinstance(start, FreshStudent):
            copied = copy_matching_weights(self.student, self.teacher, frozen, self.counterparts())
            random = set(frozen) - set(copied)
            for names, values in ((copied, "the teacher's values"), (random, "random values")):
                if names:
                    listed = ", ".join(shortest_module_names(names, self.student.model))
                    self.notes.append(f"never trained, {values}: {listed}")

    @property
    def figures(self) -> dict[str, dict[str, dict[str, Any]]]:
        """See `Measured.figures`: the method's own terms."""
        return {name: self._figures for name in self.students if self._figures}

    def on_validation_epoch_start(self) -> None:
        """Starts a fresh measurement."""
        if self.needs_teacher and not self.teachers:
            raise UserError(
                f"{type(self).__name__} trains no language-model head, so its student can only be "
                "compared with its teacher, and that is not there: give model.init_args.teacher."
                "name, or fit a head (MaskedLM, freeze_body) and measure that."
            )
        self._sums: Sums = {}
        self._by_language: dict[int, Sums] = {}
        self._figures = {}

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Adds the terms of one batch, of which no token is hidden."""
        batch = as_written(batch)
        # Loaders have one language each; where others mix them, there are numbers of all alone.
        languages = {*batch["language"].tolist()} if "language" in batch else set[int]()
        sums = [self._sums]
        if len(languages) == 1:
            sums.append(self._by_language.setdefault(languages.pop(), {}))
        for name, term in self.losses(batch).items():
            # by the weights of the run's end, so that all validations of a run can be compared
            weight, summed = weight_at(term.weight, 1.0), term.sum.item()
            for own in sums:
                total, count, _ = own.get(name, (0.0, 0.0, 0.0))
                own[name] = (total + summed, count + batch["counts"][term.per], weight)

    def on_validation_epoch_end(self) -> None:
        """Logs the mean of every term, and their weighted sum."""
        parts = [(self._sums, self._by_language)]
        if self.trainer.world_size > 1:
            parts = parts * self.trainer.world_size
            torch.distributed.all_gather_object(parts, (self._sums, self._by_language))
        means, loss = _means([whole for whole, _ in parts])
        if not means:
            return
        languages = sorted({number for _, own in parts for number in own})
        names = getattr(self.data, "languages", [])
        self._figures = {
            "mean": {"loss": loss, **means},
            "languages": {
                names[number]: {"loss": own_loss, **own}
                for number in languages
                for own, own_loss in [_means([p[number] for _, p in parts if number in p])]
                if number < len(names)
            },
        }
        stage = "test" if self.trainer.testing else "val"
        metrics = {f"{stage}/{name}": value for name, value in means.items()}
        # Equal on all ranks: the first flag avoids a warning, the second the reduction.
        self.log_dict(metrics, sync_dist=True, rank_zero_only=True)
        self.log(f"{stage}/loss", loss, prog_bar=True, sync_dist=True, rank_zero_only=True)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
        rank_zero_info(f"{stage} after {self.trainer.global_step} updates: {loss:.4f} ({shown})")

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end


def _means(parts: Sequence[Sums]) -> tuple[dict[str, float], float]:
    """The mean of every term over several ranks, and their weighted sum."""
    means, loss = {}, 0.0
    for name in sorted({name for part in parts for name in part}):
        found = [part[name] for part in parts if name in part]
        means[name] = sum(p[0] for p in found) / max(sum(p[1] for p in found), 1)
        loss += found[0][2] * means[name]
    return means, loss
