"""Tasks whose answer is about whole texts: a class, a number, one of several."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.reading.cells import Cell
from data_modules.tasks.columns import LabelColumns
from data_modules.tasks.rows import LabelledText
from data_modules.tasks.task import Answers, Ints, Rows, Task, no_view, targets
from lit_distill.batch import IGNORED
from lit_distill.errors import UserError
from lit_distill.models import Predicted


@dataclass(frozen=True)
class Classification(Task):
    """One of several labels for a text, or for a pair of texts.

    Columns: `text`, `second` where there are pairs, `label`: a name, or a number.
    """

    predicts: ClassVar[Predicted] = Predicted.TEXT_LABELS
    named: ClassVar[bool] = True
    label: ClassVar[Cell] = Cell.NAME

    def columns(self, source: LabelColumns) -> dict[str, Cell]:
        """See `Task.columns`."""
        texts = (source.text, source.second, source.teacher_text, source.teacher_second)
        return {**{name: Cell.TEXT for name in texts if name}, source.label: self.label}

    def text(self, cells: Mapping[str, str], source: LabelColumns) -> LabelledText:
        """See `Task.text`."""
        second = cells[source.second] if source.second else None
        label, teacher = cells[source.label].strip(), self.teacher(cells, source)
        return LabelledText(cells[source.text], second, label, teacher=teacher)

    def answers(self, text: LabelledText, rows: Rows, encoding: Any) -> Answers:
        """The label."""
        return [text.label]

    def keys(self, counts: Ints, answers: NDArray[np.float64]) -> dict[str, Tensor]:
        """`targets` (N,) are numbers of labels."""
        return targets(answers)


@dataclass(frozen=True)
class Regression(Classification):
    """A number for a text, or for a pair of texts, such as how alike the two are.

    Columns: `text`, `second` where there are pairs, `label`: a number.
    """

    predicts: ClassVar[Predicted] = Predicted.TEXT_VALUE
    named: ClassVar[bool] = False
    label: ClassVar[Cell] = Cell.VALUE

    def text(self, cells: Mapping[str, str], source: LabelColumns) -> LabelledText:
        """See `Task.text`; a label that is no finite number is broken."""
        label = json.loads(cells[source.label])
        try:
            value = math.nan if isinstance(label, bool) else float(label)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"a label that is no number ({ascii(label)[:40]})")
        return super().text({**cells, source.label: repr(value)}, source)

    def answers(self, text: LabelledText, rows: Rows, encoding: Any) -> Answers:
        """The number."""
        return [float(text.label)]

    def keys(self, counts: Ints, answers: NDArray[np.float64]) -> dict[str, Tensor]:
        """`values` (N,) are the numbers, and nothing is among `targets`."""
        values = torch.from_numpy(answers.astype(np.float32))
        return {"values": values, "targets": torch.full((len(values),), IGNORED)}


@dataclass(frozen=True)
class MultipleChoice(Task):
    """The right one of several texts, each read together with a first text.

    Columns: `text`, after it `question` where there is one, `choices` (their columns, or the one
    column that has the list of them), `label`: the right one's number from 0, its column, or
    itself.
    """

    predicts: ClassVar[Predicted] = Predicted.CHOICES

    def columns(self, source: LabelColumns) -> dict[str, Cell]:
        """See `Task.columns`."""
        assert source.choices is not None
        if isinstance(source.choices, str):
            choices = {source.choices: Cell.VALUE}
        else:
            choices = dict.fromkeys(source.choices, Cell.TEXT)
        texts = {name: Cell.TEXT for name in (source.text, source.question) if name}
        return {**texts, **choices, source.label: Cell.NAME}

    def text(self, cells: Mapping[str, str], source: LabelColumns) -> LabelledText:
        """See `Task.text`."""
        named = [] if isinstance(source.choices, str) else list(source.choices or ())
        listed = json.loads(cells[str(source.choices)]) if not named else [cells[n] for n in named]
        sound = isinstance(listed, list) and all(isinstance(x, str) and x.strip() for x in listed)
        if not sound or len(listed) < 2:
            raise ValueError(f"{source.choices!r} is no list of two or more texts")
        label = cells[source.label].strip()
        numbers = [str(number) for number in range(len(listed))]
        for known in (numbers, named, listed):
            if label in known:
                first = [cells[source.text], cells[source.question] if source.question else ""]
                right = str(known.index(label))
                return LabelledText(" ".join(filter(None, first)), None, right, choices=listed)
        raise ValueError(
            f"a label that is none of the choices ({ascii(label)[:40]}; they are numbered 0 to "
            f"{len(listed) - 1})"
        )

    def answers(self, text: LabelledText, rows: Rows, encoding: Any) -> Answers:
        """The number of the right choice."""
        return [float(text.label)]

    def keys(self, counts: Ints, answers: NDArray[np.float64]) -> dict[str, Tensor]:
        """`options` (D, C) are the scores of the choices, which follow each other."""
        options = torch.arange(int(counts.sum())).view(len(answers), -1)
        return {"options": options, **targets(answers)}

    def check(self, source: LabelColumns) -> None:
        """See `Task.check`; choices have to be named."""
        no_view(self, source)
        if not source.choices:
            raise UserError(
                "MultipleChoice needs the columns of the choices: set `choices` of the source, "
                "such as [choice1, choice2]."
            )
