"""Which parameters of a run train in a stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from lit_distill.errors import UserError
from lit_distill.models import LanguageModel, name_hint, names_of
from lit_distill.training.stages.stage import Stage

Names = dict[str, nn.Parameter]
"""Parameters by their names in the run's module, each once."""


class Parts:
    """All that trains in a run, by the names that patterns may have for it.

    Args:
        module: of the run, whose parameters have their full names.
        students: by name.
        trained: what the optimizer has.

    Attributes:
        parameters: all that trains.
    """

    def __init__(
        self,
        module: nn.Module,
        students: Mapping[str, LanguageModel],
        trained: Iterable[nn.Parameter],
    ) -> None:
        can = {*trained}
        self.parameters: Names = {n: p for n, p in module.named_parameters() if p in can}
        self._aliases: dict[nn.Parameter, set[str]] = {}
        self._known: dict[str, bool] = {}  # every name, and whether anything of that name trains
        for name, parameter in module.named_parameters(remove_duplicate=False):
            found = _aliases_of(name, students)
            self._aliases.setdefault(parameter, set()).update(found)
            for one in found:
                self._known[one] = self._known.get(one, False) or parameter in can

    def of(self, stage: Stage) -> Names:
        """What a stage trains, as far as its terms reach it.

        Raises:
            UserError: a pattern names nothing, or nothing that trains in this run; or nothing is
                left to train.
        """
        for where, patterns in (("train", stage.train), ("freeze", stage.freeze)):
            for pattern in patterns:
                self._check(stage, where, pattern)
        found = {
            name: parameter
            for name, parameter in self.parameters.items()
            if (not stage.train or self._fits(parameter, stage.train))
            and not self._fits(parameter, stage.freeze)
        }
        if not found:
            raise UserError(
                f"Stage {stage.name}: nothing is left to train: what train names, freeze freezes."
            )
        return found

    def _fits(self, parameter: nn.Parameter, patterns: Sequence[str]) -> bool:
        own = self._aliases[parameter]
        return any(fnmatchcase(name, pattern) for pattern in patterns for name in own)

    def _check(self, stage: Stage, where: str, pattern: str) -> None:
        found = [trains for name, trains in self._known.items() if fnmatchcase(name, pattern)]
        if not found:
            tops = [name for name in self._known if "." not in name]
            raise UserError(
                f"Stage {stage.name}: {where} names {pattern!r}, and the run has no such "
                f"parameters: {name_hint(pattern, self._known, tops)}"
            )
        if not any(found):
            raise UserError(
                f"Stage {stage.name}: {where} names {pattern!r}, which does not train in this run "
                "at all (student.freeze, or the method): leave it out."
            )


def _aliases_of(full: str, students: Mapping[str, LanguageModel]) -> set[str]:
    """The names by which patterns may mean a parameter of the run's module."""
    kind, _, rest = full.partition(".")
    if kind != "students":
        return set(names_of(full))
    student, _, rest = rest.partition(".")
    own = {*names_of(rest.removeprefix("model."), students[student].model.base_model_prefix)}
    return own | {student} | {f"{student}.{name}" for name in own}
