"""What a stage of a run is, as a config says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from lit_distill.errors import UserError
from lit_distill.knobs import Count, NotNegative, Positive, check_knobs


@dataclass(frozen=True)
class Plateau:
    """An end of a stage by validation: the metric that the stage is watched by falls no more.

    Attributes:
        patience: validations of the stage in a row that are no better than the best one before.
        min_delta: by how much a validation has to be better to count as better.
        most: updates after which the stage ends all the same; None: there is no limit.
    """

    patience: Count = 5
    min_delta: NotNegative = 0.0
    most: Count | None = None

    def __post_init__(self) -> None:
        check_knobs(Plateau, vars(self))


@dataclass(frozen=True)
class Stage:
    """A part of a run, in which some of the parameters train on some of the terms.

    Patterns are those of `fnmatch` for names of parameters or of whole modules, as of
    `student.freeze`: of the student ("embeddings", "encoder.layer.[0-3]"), of one of several by its
    name ("small", "small.classifier") and of what is trained beside them ("auxiliary",
    "auxiliary.from_*"). A tied parameter has several names, and each of them will do.

    Attributes:
        name: for people.
        until: the update, counted from the start of the run, with which the stage ends, or a
            `Plateau`; None only of the last stage, which ends with the run.
        train: patterns of what trains; none: all that can.
        freeze: patterns of what does not, of that.
        weights: factors of the weights that the method gives its terms, by name or pattern; of
            several that fit, the last one holds. 0 leaves a term out. Terms that nothing here fits
            weigh what they do without stages.
        rate: factor of the learning rate, > 0.
        monitor: the key of the metric that the stage is watched by, as "val/accuracy"; None: the
            loss of its own terms by its own weights on the validation text, `val/stage_loss`.
        restore_best: whether the weights of the best validation of the stage are put back when it
            ends. The last stage has none: `best.ckpt` and `student` are the best of the run.

    Raises:
        UserError: a number is outside of its range.
    """

    name: str
    until: Count | Plateau | None = None
    train: list[str] = field(default_factory=list)
    freeze: list[str] = field(default_factory=list)
    weights: dict[str, NotNegative] = field(default_factory=dict)
    rate: Positive = 1.0
    monitor: str | None = None
    restore_best: bool = False

    def __post_init__(self) -> None:
        numbers = {n: v for n, v in vars(self).items() if not isinstance(v, Plateau)}
        check_knobs(Stage, numbers)

    @property
    def is_watched(self) -> bool:
        """Whether a validation has a say in it."""
        return self.restore_best or isinstance(self.until, Plateau)

    def factor(self, term: str) -> float:
        """What the weight of a term is multiplied with."""
        found = 1.0
        for pattern, factor in self.weights.items():
            if fnmatchcase(term, pattern):
                found = float(factor)
        return found

    def check_terms(self, terms: Sequence[str]) -> None:
        """Checks its `weights` against the terms that there are.

        Raises:
            UserError: a name is no term's, or no term weighs.
        """
        for pattern in self.weights:
            if not any(fnmatchcase(term, pattern) for term in terms):
                raise UserError(
                    f"Stage {self.name}: weights names {pattern!r}, and the terms of this run are "
                    f"{', '.join(terms)}."
                )
        if all(self.factor(term) == 0 for term in terms):
            raise UserError(
                f"Stage {self.name}: all terms ({', '.join(terms)}) have the factor 0, so nothing "
                "is learnt: give one a weight."
            )


def check_order(stages: Sequence[Stage]) -> None:
    """Checks that stages follow each other.

    Raises:
        UserError: two have one name, one has no end or ends before the one before it, or the last
            one has an end of its own or would restore its best.
    """
    reached, names = 0, set[str]()
    for stage in stages:
        if stage.name in names:
            raise UserError(f"model.stages has two stages {stage.name!r}: give each its own name.")
        names.add(stage.name)
        if stage is stages[-1]:
            break
        if stage.until is None:
            raise UserError(
                f"Stage {stage.name} has no end, and others follow: set until to the update with "
                "which it ends, or to a Plateau."
            )
        if isinstance(stage.until, int):
            if stage.until <= reached:
                raise UserError(
                    f"Stage {stage.name} ends with update {stage.until}, and an earlier one with "
                    f"{reached}: until counts from the start of the run, so it has to rise."
                )
            reached = stage.until
    for last in stages[-1:]:
        if isinstance(last.until, int):
            raise UserError(
                f"Stage {last.name} is the last one and ends with the run: leave until out, or "
                "use a Plateau, which ends the run."
            )
        if last.restore_best:
            raise UserError(
                f"Stage {last.name} is the last one, and the best of the run is kept as best.ckpt "
                "and in the folder student: leave restore_best out."
            )
