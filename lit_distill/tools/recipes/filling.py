"""What stands in braces in a stage's options: variables, axes of grids, folders of other stages.

{variables.NAME}, {for.AXIS}, {stages.NAME}, {stages.NAME[AXIS=VALUE,...]}, and for `evaluate` and
`compare` {stages.NAME[seed={seed}]}: the folders of all seeds, in which they fill in each.

A stage of a grid that names another one means the cell with its own values of the axes that both
have. An item of a list that means several cells becomes one for each of them; an option does if
its name tells them apart by `{for.AXIS}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lit_distill.errors import UserError
from lit_distill.tools.recipes.grid import Cell, Value, as_text, hint, suffix

_FREE = r"\{for\.\w+\}"
_SEED = "{seed}"
_STAGE = rf"\{{stages\.([\w-]+)(?:\[((?:[^][{{}}]|{_FREE}|{re.escape(_SEED)})*)\])?\}}"
_STAGES = re.compile(_STAGE)
_PLACE = re.compile(rf"{_STAGE}((?:/[\w.-]+)*)(?![\w.{{*/-])")
_NAMES = re.compile(r"\{(for|variables)\.([\w-]+)\}")


class Filling:
    """The values that one stage's options can name.

    Args:
        where: of the stage, for messages.
        variables: of the recipe.
        earlier: the cells of every earlier stage, each with its folder.
        cell: the stage's own.

    Attributes:
        needs: the earlier cells that have been named: stage and suffix.
        reads: the places in their folders that have been named.
    """

    def __init__(
        self,
        where: str,
        variables: Mapping[str, str],
        earlier: Mapping[str, Sequence[tuple[Cell, Path]]],
        cell: Cell,
    ) -> None:
        self.where, self.variables, self.earlier, self.cell = where, variables, earlier, cell
        self.needs: dict[str, None] = {}
        self.reads: list[Path] = []

    def options(self, given: Any) -> dict[str, str]:
        """Options, which may be nested, as (dotted name, text as on the command line)."""
        return dict(_flat("", self._expanded(given, self.cell, "options")))

    def text(self, text: str) -> str:
        """One text with everything filled in."""
        return self._fill(text, self.cell)

    def _expanded(self, node: Any, cell: Cell, where: str) -> Any:
        """A copy of options with everything filled in, and repeated where that means several."""
        if isinstance(node, str):
            return self._fill(node, cell)
        if isinstance(node, list):
            items: list[Any] = []
            for item in node:
                cells = self._cells([item], cell) if isinstance(item, str) else [cell]
                items += [self._expanded(item, one, where) for one in cells]
            return items
        if not isinstance(node, dict):
            return node
        entries: dict[str, Any] = {}
        for key, value in node.items():
            place, several = f"{where}.{key}", isinstance(value, str) or re.search(_FREE, str(key))
            cells = self._cells([str(key), *_texts(value)], cell) if several else [cell]
            for one in cells:
                name = self._fill(str(key), one, in_name=True)
                if name in entries and len(cells) > 1:
                    raise UserError(
                        f"{self.where}.{place} means {len(cells)} cells of a grid: choose one, "
                        "[AXIS=VALUE], tell them apart by {for.AXIS} in the option's name, or give "
                        "a list."
                    )
                entries[name] = self._expanded(value, one, place)
        return entries

    def _cells(self, texts: Sequence[str], cell: Cell) -> list[Cell]:
        """What texts are to be filled with: one cell, unless they name several of a grid."""
        for text in texts:
            for match in _STAGES.finditer(self._named(text, cell, False)):
                found = self._matching(match[1], match[2], cell)
                if len(found) > 1 and not _leaves_seed(match[2]):
                    return [
                        each for own, _ in found for each in self._cells(texts, {**own, **cell})
                    ]
                free = {axis[5:-1] for one in texts for axis in re.findall(_FREE, one)}
                cell = {**{a: v for a, v in found[0][0].items() if a in free}, **cell}
        return [cell]

    def _fill(self, text: str, cell: Cell, in_name: bool = False) -> str:
        text = self._named(text, cell, in_name)
        if free := re.search(_FREE, text):
            axis, axes = free[0][5:-1], [*cell]
            raise UserError(f"{self.where}: there is no axis {axis!r}{hint(axis, axes)}")
        for match in _PLACE.finditer(text):
            meant = self._meant(match[1], match[2], cell)
            self.reads += [Path(f"{folder}{match[3]}") for _, folder in meant]

        def folder_of(match: re.Match[str]) -> str:
            meant = self._meant(match[1], match[2], cell)
            self.needs |= dict.fromkeys(folder.name for _, folder in meant)
            own, folder = meant[0]
            if not _leaves_seed(match[2]):
                return str(folder)
            return str(folder.with_name(match[1] + suffix({**own, "seed": Value(_SEED, _SEED)})))

        return _STAGES.sub(folder_of, text)

    def _named(self, text: str, cell: Cell, in_name: bool) -> str:
        """A text with variables and axes filled in; an axis that is not known is left."""

        def value(match: re.Match[str]) -> str:
            kind, key = match.groups()
            if kind == "variables":
                if key not in self.variables:
                    known = hint(key, [*self.variables])
                    raise UserError(f"{self.where}: there is no variable {key!r}{known}")
                return self.variables[key]
            if key not in cell:
                return match[0]
            # a point in the name of an option begins one inside of it
            return cell[key].name.replace(".", "_") if in_name else cell[key].text

        return _NAMES.sub(value, text)

    def _meant(self, name: str, chosen: str | None, cell: Cell) -> list[tuple[Cell, Path]]:
        """The one cell of a reference; of one that leaves the seed open, those of all seeds."""
        found = self._matching(name, chosen, cell)
        left = {"seed"} if _leaves_seed(chosen) else set()
        apart = {tuple(v.text for axis, v in own.items() if axis not in left) for own, _ in found}
        if len(apart) > 1:
            raise UserError(
                f"{self.where}: {{stages.{name}}} means {len(found)} cells of a grid: choose one, "
                "[AXIS=VALUE]."
            )
        return found

    def _matching(self, name: str, chosen: str | None, cell: Cell) -> list[tuple[Cell, Path]]:
        """The cells of an earlier stage that a reference means; one or more."""
        if name not in self.earlier:
            known = hint(name, [*self.earlier])
            raise UserError(f"{self.where}: there is no earlier stage {name!r}{known}")
        cells = self.earlier[name]
        axes = [*cells[0][0]]
        wanted = {axis: value.text for axis, value in cell.items() if axis in axes}
        for part in filter(None, (chosen or "").split(",")):
            axis, equals, value = (each.strip() for each in part.partition("="))
            if axis not in axes or not equals:
                which = f"stage {name} has no axis {axis!r}{hint(axis, axes)}"
                raise UserError(f"{self.where}: {which}")
            if (axis, value) == ("seed", _SEED):
                wanted.pop(axis, None)
            elif not re.fullmatch(_FREE, value):
                wanted[axis] = value
        found = [
            (own, folder)
            for own, folder in cells
            if all(own[axis].means(value) for axis, value in wanted.items())
        ]
        if not found:
            listed = ", ".join(f"{axis}={value}" for axis, value in wanted.items())
            names = ", ".join(folder.name for _, folder in cells)
            raise UserError(f"{self.where}: stage {name} has no cell {listed}; there is {names}.")
        return found


def _leaves_seed(chosen: str | None) -> bool:
    return _SEED in (chosen or "")


def _texts(value: Any) -> Iterator[str]:
    """All texts in options."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and (value or not prefix):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}".strip("."), inner)
    else:
        yield prefix, as_text(value)
