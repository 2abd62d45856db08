"""What a labelled corpus asks: the interface of all tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.reading.cells import Cell
from data_modules.tasks.columns import LabelColumns
from data_modules.tasks.rows import LabelledText
from lit_distill.errors import UserError
from lit_distill.models import Predicted

Ints = NDArray[np.int64]
Answers = list[str] | list[float]
"""Labels by name, or numbers."""
Rows = list[tuple[int, int]]
"""Positions in a read text, with the number of the word that each stands for."""


class TooLong(ValueError):
    """What is asked for does not fit into a window."""


class Task(ABC):
    """What is asked about a text: a frozen dataclass that a config names by `class_path`.

    A row is a position whose hidden state is read. It stands for a word, or of whole texts for the
    text: words and texts of an example are numbered from 0.

    Attributes:
        predicts: the head that answers.
        named: whether labels have names.
        by_word: whether every row has an answer of its own.
        cuts: what is cut of too long texts, in the words of `tokenizers`.
    """

    predicts: ClassVar[Predicted]
    named: ClassVar[bool] = False
    by_word: ClassVar[bool] = False
    cuts: ClassVar[str] = "longest_first"

    @abstractmethod
    def columns(self, source: LabelColumns) -> dict[str, Cell]:
        """Columns of the source that are read, and what is taken of them."""

    @abstractmethod
    def text(self, cells: Mapping[str, str], source: LabelColumns) -> LabelledText:
        """A row of the data.

        Raises:
            ValueError: what is wrong with it.
        """

    def rows(self, text: LabelledText, encoding: Any) -> Iterator[tuple[int, int]]:
        """Rows of a read text, ascending, each with its word: here, the first position.

        Args:
            text: the row of the data.
            encoding: of it, cut (`tokenizers.Encoding`).
        """
        del text, encoding
        yield 0, 0

    @abstractmethod
    def answers(self, text: LabelledText, rows: Rows, encoding: Any) -> Answers:
        """What is right: one for each row where `by_word`, else those of the example.

        Args:
            text: the row of the data.
            rows: what `rows` gave of it.
            encoding: of its only, or last, read text.

        Raises:
            TooLong: it was cut off.
            ValueError: no row can be right.
        """

    @abstractmethod
    def keys(self, counts: Ints, answers: NDArray[np.float64]) -> dict[str, Tensor]:
        """What a batch says about the right answers: `targets`, and `values` or `options`.

        Args:
            counts: rows of every read text.
            answers: of all examples, one after the other.
        """

    def check(self, source: LabelColumns) -> None:
        """Checks a source before anything is read.

        Raises:
            UserError: it has what this task has no use for.
        """
        if source.teacher_text is not None and source.teacher_second is None and source.second:
            raise UserError(
                "A source of pairs has teacher_text and no teacher_second: name the teacher's "
                "columns of both texts."
            )

    def teacher(self, cells: Mapping[str, str], source: LabelColumns) -> Any:
        """The texts that the teacher reads instead; None where it reads the same."""
        if source.teacher_text is None:
            return None
        second = cells[source.teacher_second] if source.teacher_second else None
        return cells[source.teacher_text], second


def targets(answers: NDArray[np.float64]) -> dict[str, Tensor]:
    """The numbers of right answers as a batch has them."""
    return {"targets": torch.from_numpy(answers.astype(np.int64))}


def no_view(task: Task, source: LabelColumns) -> None:
    """Refuses a teacher's own text where answers are places in the student's.

    Raises:
        UserError: the source has one.
    """
    if source.teacher_text or source.teacher_second:
        raise UserError(
            f"A source has teacher_text, and {type(task).__name__} asks about places in the "
            "student's own text, or about several texts: leave it out (`noise` and "
            "`teacher_tokenizer` are views of the same text)."
        )
