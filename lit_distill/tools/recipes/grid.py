"""A grid: the combinations of values for which a stage of a recipe is repeated.

for: {lr: [1e-3, 3e-4], seed: [1, 2]}           # 4 cells: distilled-lr=1e-3-seed=1, ...
for: {seed: "{variables.seeds}"}                # --variables.seeds='[1, 2, 3]'
for: {teacher: {e5: MODELS/e5, small: hub/x}}   # names of values that are long
for: [{seed: 1, lr: [1e-3, 3e-4]}, {seed: 2, lr: 1e-3}]     # cells of several grids
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from typing import Any

import yaml

from lit_distill.errors import UserError


@dataclass(frozen=True)
class Value:
    """One value of an axis.

    Attributes:
        name: in the names of stages and in a choice of cells.
        text: what `{for.AXIS}` stands for.
    """

    name: str
    text: str

    def means(self, wanted: str) -> bool:
        """Whether a choice of cells names this value: by name, by text, or as an equal number."""
        try:
            return wanted in (self.name, self.text) or float(wanted) == float(self.text)
        except ValueError:
            return False


Cell = Mapping[str, Value]
"""The value of every axis; none of a stage that is not repeated."""


def cells_of(where: str, given: Any, fill: Callable[[str], str]) -> list[Cell]:
    """All combinations that a stage's `for` asks for, the last axis running fastest.

    Args:
        where: of the `for`, for messages.
        given: its content; None where there is none, which is one cell without axes.
        fill: puts the recipe's variables in.

    Raises:
        UserError: an axis has no value, or none that can be one; or two cells have one name.
    """
    if given is None:
        return [{}]
    cells: list[Cell] = []
    parts = given if isinstance(given, list) and given else [given]
    for part in parts:
        if not isinstance(part, dict) or not part:
            raise UserError(
                f"{where}: expected axes with values, {{seed: [1, 2]}}, found {part!r}."
            )
        if set(part) != set(parts[0]):
            raise UserError(
                f"{where}: one part has the axes {', '.join(parts[0])} and another "
                f"{', '.join(part)}: give the same in all, one value where there is no choice."
            )
        axes = {axis: _values(f"{where}.{axis}", str(axis), part[axis], fill) for axis in parts[0]}
        cells += [dict(zip(axes, found, strict=True)) for found in product(*axes.values())]
    names = [suffix(cell) for cell in cells]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(
            f"{where}: two cells would be called {twice[1:]}: leave one out, or name the values, "
            "{name: value, other: value}."
        )
    return cells


def suffix(cell: Cell) -> str:
    """What a cell adds to the name of its stage: `-lr=1e-3-seed=1`."""
    return "".join(f"-{axis}={value.name}" for axis, value in cell.items())


def hint(wrong: str, known: Any) -> str:
    """The end of a message about an unknown name: the likely one, or all."""
    close = get_close_matches(wrong, list(known), 1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(known)}." if known else "."


def as_text(value: Any) -> str:
    """A value as on the command line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _values(where: str, axis: str, given: Any, fill: Callable[[str], str]) -> list[Value]:
    if not re.fullmatch(r"\w+", axis):
        raise UserError(f"{where}: an axis is named by letters, digits and _.")
    if isinstance(given, str) and (filled := fill(given)).lstrip().startswith(("[", "{")):
        try:
            given = yaml.safe_load(filled)
        except yaml.YAMLError as error:
            raise UserError(f"{where}: {filled} is no list of values.") from error
    named = given if isinstance(given, dict) else None
    listed = given if isinstance(given, list) else [given]
    listed = listed if named is None else [*named.values()]
    if not listed:
        raise UserError(f"{where} has no value: give one or more, or leave the axis out.")
    if bad := [one for one in listed if one is None or isinstance(one, dict | list)]:
        raise UserError(f"{where}: expected single values, found {bad[0]!r}.")
    texts = [fill(as_text(one)) for one in listed]
    names = texts if named is None else [str(name) for name in named]
    return [Value(_safe(name), text) for name, text in zip(names, texts, strict=True)]


def _safe(name: str) -> str:
    """What folders can be called on every system."""
    return re.sub(r"[^\w.+-]+", "_", name).strip("_") or "_"
