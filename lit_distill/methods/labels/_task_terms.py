"""What is learnt of one task: its labels, and what its teacher says of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

from lit_distill.batch import LabelledBatch
from lit_distill.errors import UserError
from lit_distill.knobs import check_knobs, check_one_weighs
from lit_distill.losses import (
    AccumulationWindow,
    CrossEntropy,
    DynamicTemperatureKL,
    HardLoss,
    LogitMSE,
    LogitTerm,
    RowLoss,
    SoftLoss,
    SoftTarget,
    SquaredError,
    Term,
    Weight,
)
from lit_distill.methods.labels._whole_logits import whole_terms
from lit_distill.models import (
    Encoded,
    LanguageModel,
    LiveOutputs,
    Predicted,
    TeacherOutputs,
    teacher_view,
)
from lit_distill.training.logit_terms import logit_terms


@dataclass(frozen=True)
class TaskTerms:
    """The terms of one task.

    Attributes:
        hard: the loss of labels, or `SquaredError` of numbers.
        alpha_hard: its weight.
        soft: terms of the teacher by name.
    """

    hard: HardLoss = CrossEntropy()  # noqa: RUF009 (frozen)
    alpha_hard: Weight = 1.0
    soft: dict[str, SoftTarget] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_knobs(TaskTerms, vars(self))

    @property
    def couples(self) -> tuple[str, ...]:
        """Names of the terms with a mean over all decisions inside."""
        terms = self.soft.items()
        return tuple(name for name, one in terms if isinstance(one.loss, DynamicTemperatureKL))

    def weighed(self, method: type, task: str = "") -> TaskTerms:
        """These, without soft targets of no weight.

        Args:
            method: whose terms they are, for the message.
            task: which of its tasks, likewise.

        Raises:
            UserError: nothing has a weight, or a soft target is called as something else is.
        """
        place = f"{task}." if task else ""
        weights = {f"{place}soft.{key}.weight": one.weight for key, one in self.soft.items()}
        check_one_weighs(method, **{f"{place}alpha_hard": self.alpha_hard}, **weights)
        if taken := {"hard", "loss"} & self.soft.keys():
            raise UserError(
                f"{method.__name__}.soft names a term {taken.pop()!r}, as another is called."
            )
        return replace(self, soft={key: one for key, one in self.soft.items() if one.weight != 0})

    def named(self, prefix: str = "") -> dict[str, tuple[SoftLoss | HardLoss, Weight]]:
        """Losses and weights by name, those without a weight left out."""
        found: dict[str, tuple[SoftLoss | HardLoss, Weight]] = {
            prefix + name: (one.loss, one.weight) for name, one in self.soft.items()
        }
        if self.alpha_hard != 0:
            found[f"{prefix}hard"] = self.hard, self.alpha_hard
        return found

    def check(self, kind: Predicted, where: str = "model.init_args") -> None:
        """Refuses losses that mean nothing for what is predicted.

        Args:
            kind: what the student predicts.
            where: the place of `hard` in a config, for the message.

        Raises:
            UserError: it has numbers and a loss of choices, or choices and a loss of numbers.
        """
        if kind == Predicted.TEXT_VALUE:
            wrong = [name for name, one in self.soft.items() if not isinstance(one.loss, LogitMSE)]
            if self.alpha_hard != 0 and not isinstance(self.hard, SquaredError):
                raise UserError(f"The task is a number: set {where}.hard to SquaredError.")
            if wrong:
                raise UserError(
                    f"The task is a number, of which {wrong[0]} has no distribution: use LogitMSE."
                )
        elif self.alpha_hard != 0 and isinstance(self.hard, SquaredError):
            raise UserError(
                f"SquaredError is of numbers, and the student chooses: set {where}.hard to "
                "CrossEntropy, or use data whose labels are numbers (regression)."
            )

    def of(
        self,
        model: LanguageModel,
        batch: LabelledBatch,
        window: AccumulationWindow,
        student: Encoded,
        teacher: TeacherOutputs | None,
        prefix: str = "",
        per: tuple[str, str] | None = None,
    ) -> dict[str, Term]:
        """The terms on one batch.

        Args:
            model: the student.
            batch: of its task.
            window: the update that the batch belongs to.
            student: its states.
            teacher: what it says about the batch; None: there is none.
            prefix: of the terms' names.
            per: what the sums are divided by, and the count of all decisions; None: the latter.
        """
        rows, terms = batch["rows"], self.named(prefix)
        theirs = batch["teacher_rows"] if teacher_view(batch) else rows
        count = "decisions" if "options" in batch else "rows"
        divisor, decisions = per or (count, count)
        if not (self.couples or "options" in batch or "values" in batch):
            rowwise = {
                n: LogitTerm(cast(RowLoss, one), divisor, w) for n, (one, w) in terms.items()
            }
            return logit_terms(
                model, rowwise, window, rows, batch["targets"], student, teacher, theirs
            )
        logits = model.logits(student.rows(rows))
        taught = None if teacher is None else cast(LiveOutputs, teacher).logits(theirs)
        return whole_terms(terms, divisor, window, batch, logits, taught, decisions)

    def none_of(
        self,
        model: LanguageModel,
        batch: LabelledBatch,
        window: AccumulationWindow,
        student: Encoded,
        prefix: str,
        per: tuple[str, str],
    ) -> dict[str, Term]:
        """The terms on a batch of another task: zero, with a gradient of zero for the head.

        Ranks whose batches are of other tasks wait for that gradient, and for their part of means.
        Of the arguments of `of`, `batch` and `student` are the other task's.
        """
        logits = model.logits(student.rows(batch["rows"][:0]))
        empty = LabelledBatch(targets=batch["targets"][:0], values=logits.detach()[:, 0])
        given = self.named(prefix), per[0], window, empty, logits, logits.detach()
        return whole_terms(*given, per[1])
