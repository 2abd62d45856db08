"""Layer maps: which state of a student learns from which state of its teacher.

States are numbered as Transformers does: 0 is the embeddings (what the first layer reads), k the
output of the k-th layer, and the last is what a head reads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal

from lit_distill.errors import UserError
from lit_distill.knobs import Count, CountOrNone, check_knobs

Pair = tuple[int, int]
"""Number of a student's state and of a teacher's."""


class LayerMap(ABC):
    """A rule that pairs states by the numbers of layers alone."""

    def pairs(self, student: int, teacher: int) -> list[Pair]:
        """The pairs, each once, in order.

        Args:
            student: how many layers the student has.
            teacher: how many the teacher has.

        Raises:
            UserError: the rule does not fit these numbers.
        """
        found = sorted(set(self._pairs(student, teacher)))
        for own, other in found:
            if not (0 <= own <= student and 0 <= other <= teacher):
                raise UserError(
                    f"{type(self).__name__} pairs state {own} of the student with state {other} of "
                    f"the teacher, and these have the states 0 (embeddings) to {student} and 0 to "
                    f"{teacher}: change its options, or choose another layer_map."
                )
        return found

    @abstractmethod
    def _pairs(self, student: int, teacher: int) -> list[Pair]: ...

    def _check_deeper(self, student: int, teacher: int) -> None:
        if student > teacher:
            raise UserError(
                f"{type(self).__name__} gives each of the student's {student} layers one of the "
                f"teacher's {teacher}: use a student of at most {teacher} layers, or LastState."
            )


@dataclass(frozen=True)
class LastState(LayerMap):
    """The last state alone: (S, T)."""

    def _pairs(self, student: int, teacher: int) -> list[Pair]:
        return [(student, teacher)]


@dataclass(frozen=True)
class Uniform(LayerMap):
    """(i, floor(i T / S)): of 12 layers, 6 learn 2, 4, ..., 12. LightMBERT's g(m)."""

    def _pairs(self, student: int, teacher: int) -> list[Pair]:
        self._check_deeper(student, teacher)
        return [(i, i * teacher // student) for i in range(1, student + 1)]


@dataclass(frozen=True)
class EveryKth(LayerMap):
    """(i, k i), from the bottom.

    Attributes:
        k: the step.
    """

    k: Count = 2

    def __post_init__(self) -> None:
        check_knobs(EveryKth, vars(self))

    def _pairs(self, student: int, teacher: int) -> list[Pair]:
        return [(i, self.k * i) for i in range(1, student + 1)]


@dataclass(frozen=True)
class LastOfGroup(LayerMap):
    """Each layer learns the last of its group; where groups differ, lower ones are larger."""

    def _pairs(self, student: int, teacher: int) -> list[Pair]:
        self._check_deeper(student, teacher)
        return [(i, group[-1]) for i, group in enumerate(groups(student, teacher), 1)]


@dataclass(frozen=True)
class OneToMany(LayerMap):
    """Each layer learns all layers of its group (groups as `LastOfGroup`'s)."""

    def _pairs(self, student: int, teacher: int) -> list[Pair]:
        self._check_deeper(student, teacher)
        return [(i, j) for i, group in enumerate(groups(student, teacher), 1) for j in group]


@dataclass(frozen=True)
class TopAligned(LayerMap):
    """(i, T - S + i): the highest layers of the teacher, aligned at the top; XtremeDistil's.

    Attributes:
        below: whether the student's embeddings learn the state that those layers read, T - S.
    """

    below: bool = False

    def _pairs(self, student: int, teacher: int) -> list[Pair]:
        self._check_deeper(student, teacher)
        return [(i, teacher - student + i) for i in range(not self.below, student + 1)]


@dataclass(frozen=True)
class UniformPlusLast(LayerMap):
    """Two states for each layer, in one of the two readings that code has of the published name.

    Attributes:
        reading: "final": (i, floor(i T / S)) and (i, T). "shifted": counted from 0, i learns
            floor(i T / S) and i + T - S, so that the last T - S layers are met a second time.
    """

    reading: Literal["final", "shifted"] = "final"

    def __post_init__(self) -> None:
        check_knobs(UniformPlusLast, vars(self))

    def _pairs(self, student: int, teacher: int) -> list[Pair]:
        self._check_deeper(student, teacher)
        numbers = range(1, student + 1)
        if self.reading == "final":
            return [(i, j) for i in numbers for j in (i * teacher // student, teacher)]
        firsts = [(i, (i - 1) * teacher // student + 1) for i in numbers]
        return firsts + [(i, i + teacher - student) for i in numbers]


@dataclass(frozen=True)
class AllOnLast(LayerMap):
    """The student's last state predicts several of the teacher's: DistilHuBERT's heads.

    Attributes:
        layers: of the teacher; none named: the ends of its thirds (4, 8 and 12 of 12).
    """

    layers: list[Count] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_knobs(AllOnLast, vars(self))

    def _pairs(self, student: int, teacher: int) -> list[Pair]:
        thirds = [max(1, third * teacher // 3) for third in (1, 2, 3)]
        return [(student, j) for j in self.layers or thirds]


@dataclass(frozen=True)
class ExplicitPairs(LayerMap):
    """Pairs that are written down: the n-th of one list with the n-th of the other.

    Attributes:
        student: numbers of the student's states, such as [1, 2].
        teacher: of the teacher's, such as [2, 4].
    """

    student: list[CountOrNone] = field(default_factory=list)
    teacher: list[CountOrNone] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_knobs(ExplicitPairs, vars(self))

    def _pairs(self, student: int, teacher: int) -> list[Pair]:
        if not self.student or len(self.student) != len(self.teacher):
            raise UserError(
                f"ExplicitPairs: student names {len(self.student)} states and teacher "
                f"{len(self.teacher)}: write as many for both, such as [1, 2] and [2, 4]."
            )
        return list(zip(self.student, self.teacher, strict=True))


def groups(count: int, layers: int) -> list[list[int]]:
    """Numbers 1 to `layers` in `count` groups of neighbours; the lower ones have one more."""
    size, more = divmod(layers, count)
    ends = [size * i + min(i, more) for i in range(count + 1)]
    return [list(range(ends[i] + 1, ends[i + 1] + 1)) for i in range(count)]
