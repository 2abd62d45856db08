"""What tables of `compare` hold: pipelines on data sets, with what each achieved."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lit_distill.errors import UserError
from lit_distill.tools.comparing.compare_grid import FORMAT, NUMBERS
from lit_distill.tools.reporting.parts import finite
from lit_distill.tools.reporting.plain_files import inside, json_of

Value = str | float
Target = Literal["gain", "kept"]
GAIN, KEPT = "gain", "kept"
"""How far the loss is below the control's, in nats; the teacher's loss as a share of its own."""


@dataclass(frozen=True)
class Trial:
    """One pipeline on one data set.

    Attributes:
        data_set: name of the table.
        name: of the pipeline, as the tables call it.
        data: features of the data set.
        pipeline: settings of the pipeline.
        achieved: the target; more is better.
    """

    data_set: str
    name: str
    data: Mapping[str, float]
    pipeline: Mapping[str, Value]
    achieved: float


@dataclass(frozen=True)
class ComparedTable:
    """A `compare.json` of methods under seeds.

    Attributes:
        name: of its folder.
        content: of the file.
    """

    name: str
    content: Mapping[str, Any]

    @property
    def data(self) -> dict[str, float]:
        """Features of the held-out text and of the teacher."""
        found = {
            n: x for n, v in inside(self.content, "data").items() if (x := finite(v)) is not None
        }
        teacher = inside(self.content, "methods", str(self.content.get("reference")))
        loss, size = _loss(teacher), finite(teacher.get("parameters"))
        found |= {} if loss is None else {"teacher_loss": loss}
        return found | ({} if size is None else {"teacher_parameters": size})

    @property
    def has_control(self) -> bool:
        """Whether differences from a control are there."""
        return self.content.get("control") is not None

    def trials(self, target: Target) -> list[Trial]:
        """Rows of methods that runs have made, but for the control and the reference."""
        roles = {self.content.get("control") if target == GAIN else None,
                 self.content.get("reference")}  # fmt: skip
        found = []
        for name, row in inside(self.content, "methods").items():
            pipeline = {key: _value(value) for key, value in inside(row, "pipeline").items()}
            achieved = self._achieved(row, target)
            if name not in roles and pipeline and achieved is not None:
                found.append(Trial(self.name, name, self.data, pipeline, achieved))
        return found

    def _achieved(self, row: Any, target: Target) -> float | None:
        if target == GAIN:
            gap = finite(inside(row, "less_control").get("value"))
            return None if gap is None else -gap
        theirs, own = self.data.get("teacher_loss"), _loss(row)
        return theirs / own if theirs is not None and own else None


def read_tables(paths: Sequence[str]) -> list[ComparedTable]:
    """Reads comparisons, each of another data set.

    Args:
        paths: folders of `compare`, or the files in them.

    Raises:
        UserError: one is no comparison of methods under seeds, or two have one name.
    """
    found: list[ComparedTable] = []
    for given in paths:
        path = Path(given).expanduser()
        file = path / NUMBERS if path.is_dir() else path
        problems = list[str]()
        content = json_of(file, problems)
        if content.get("format") != FORMAT or not inside(content, "methods"):
            why = f" ({problems[0]})" if problems else ""
            raise UserError(
                f"{file} is no comparison of methods under seeds{why}: make it with `compare` and "
                "--seeds, which also writes down what was done."
            )
        found.append(ComparedTable(_name_of(file, paths), content))
    names = [table.name for table in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"Table {twice} is given twice, which would count as two data sets.")
    texts = [json.dumps(table.content.get("data"), sort_keys=True) for table in found]
    for place, text in enumerate(texts):
        if text in texts[:place]:
            raise UserError(
                f"Tables {names[texts.index(text)]} and {names[place]} are of one data set, so "
                "that neither can be held out: give one of them."
            )
    return found


def trials_of(tables: Sequence[ComparedTable], target: Target | None) -> tuple[list[Trial], Target]:
    """All rows, and what is predicted of them.

    Args:
        tables: of different data sets.
        target: None: the gain over the control if every table has one, else what is kept.

    Raises:
        UserError: a table lacks what the target is made of.
    """
    chosen: Target = target or ("gain" if all(table.has_control for table in tables) else "kept")
    found = []
    for table in tables:
        own = table.trials(chosen)
        if not own:
            lacks = "a control" if chosen == GAIN else "a reference"
            raise UserError(
                f"Table {table.name} has no method with {lacks} to be measured by: compare with "
                f"--{lacks.split()[1]}, or choose another --target."
            )
        found += own
    return found, chosen


def _name_of(file: Path, paths: Sequence[str]) -> str:
    """The folder's name; with folders of one name, its path."""
    same = [one for one in paths if (Path(one) / NUMBERS if Path(one).is_dir() else Path(one))
            .parent.name == file.parent.name]  # fmt: skip
    return file.parent.name if len(same) < 2 else str(file.parent)


def _loss(row: Any) -> float | None:
    return finite(inside(row, "loss").get("mean"))


def _value(value: Any) -> Value:
    number = finite(value)
    return str(value) if number is None else number
