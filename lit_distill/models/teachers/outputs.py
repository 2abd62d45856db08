"""What a method reads of its teacher, be it live or from a cache.

Shapes: N rows, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import TeacherSignal
from lit_distill.losses.rows.row_loss import RowLoss
from lit_distill.models.body.encoded import Encoded, Site

Result = TypeVar("Result")


def teacher_view(batch: Batch) -> str:
    """Prefix of what teachers of labels read: their own view, where a batch has it."""
    return "teacher_" if "teacher_input_ids" in batch else ""


class TeacherOutputs(Protocol):
    """What teachers say about one batch."""

    @property
    def view(self) -> str:
        """Prefix of the batch keys that the teachers read; flat rows are positions there."""
        ...

    def check_losses(self, losses: Sequence[RowLoss]) -> None:
        """Called with the losses of rows that will be computed from the signal.

        Raises:
            UserError: one needs what it does not hold.
        """
        ...

    def with_signal(self, fn: Callable[[TeacherSignal], Result], rows: Tensor) -> Result:
        """Calls `fn` with what is said about the tokens at flat `rows` (N,), for `linear_losses`.

        Only inside the call are the weights of the teachers' heads whole, so `linear_losses` needs
        its coefficients: without them it reads the heads once more in the backward pass.
        """
        ...

    def states(self, rows: Tensor, site: Site | None = None) -> list[tuple[float, Tensor]]:
        """Weight and states (N, D) of each teacher at flat `rows` (N,).

        Args:
            rows: flat positions (N,).
            site: one of those that `teach` was asked to capture; None: the last hidden states.
        """
        ...

    def hand_over(self, site: Site) -> list[tuple[float, Tensor]]:
        """Weight and whole tensor (B, T, W) of each teacher at a site, which they then forget.

        Args:
            site: one of those that `teach` was asked to capture.

        Raises:
            UserError: it holds no such tensors.
        """
        ...


def with_teacher(
    fn: Callable[[TeacherSignal | None], Result],
    teacher: TeacherOutputs | None,
    student: Encoded,
    rows: Tensor,
    teacher_rows: Tensor | None = None,
) -> Result:
    """Calls `fn` with what a teacher says about a student's rows; with None where there is none.

    Args:
        fn: what to call.
        teacher: what it says about the batch.
        student: its states; `rows` are positions there.
        rows: flat positions (N,).
        teacher_rows: flat positions (N,) in the view that the teacher read; None: `rows`.

    Raises:
        UserError: student and teacher read other views, and `teacher_rows` is None.
    """
    if teacher is None:
        return fn(None)
    if teacher_rows is None and teacher.view != student.view:
        raise UserError(
            f"The student reads the view {student.view!r} of a batch and the teacher "
            f"{teacher.view!r}, where a position is another token: give logit_terms the "
            "teacher_rows that answer to the student's."
        )
    return teacher.with_signal(fn, rows if teacher_rows is None else teacher_rows)
