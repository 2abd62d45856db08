"""What methods share that train a body and not its language-model head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from lit_distill.batch import Reading
from lit_distill.errors import UserError
from lit_distill.measures import TermMeasure
from lit_distill.models import (
    FreshStudent,
    copy_matching_weights,
    freeze_without_gradient,
    shortest_module_names,
)
from lit_distill.training.distillation import Distillation


class HiddenStateMethod(Distillation):
    """A method whose losses read tensors inside the student, and not its logits.

    Parameters that no loss reaches are frozen before anything wraps the student; those of a
    `FreshStudent` start as the teacher's of the same name and shape. Validation measures the
    method's own losses, as `val/<term>` and `val/loss`. `MaskedLM` with `freeze_body` fits a head
    afterwards.
    """

    measured_by = TermMeasure
    reads = (Reading.PLAIN, Reading.NEXT, Reading.RESPONSES)  # whose ids are those of the text

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
        self.notes = ["its language-model head was not trained: fit one (MaskedLM, freeze_body)"]
        (start,) = self.student_specs.values()
        if self.teachers and isinstance(start, FreshStudent):
            copied = copy_matching_weights(self.student, self.teacher, frozen, self.counterparts())
            random = set(frozen) - set(copied)
            for names, values in ((copied, "the teacher's values"), (random, "random values")):
                if names:
                    listed = ", ".join(shortest_module_names(names, self.student.model))
                    self.notes.append(f"never trained, {values}: {listed}")
