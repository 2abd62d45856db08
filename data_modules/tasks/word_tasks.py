"""Tasks whose answers are in a text: labels of words, the place of an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.reading.cells import Cell
from data_modules.tasks.columns import LabelColumns
from data_modules.tasks.rows import LabelledText
from data_modules.tasks.task import Answers, Ints, Rows, Task, TooLong, no_view, targets
from data_modules.tasks.words import joined, located, pieces
from lit_distill.models import Predicted


@dataclass(frozen=True)
class TokenLabels(Task):
    """A label for every word, such as its part of speech, or of which entity it is a part (IOB2).

    Columns: `tokens` and `tags`, lists of equal length; `written`, the text as it was written,
    where that is known. Without it a text is its words, with spaces where its script has them.

    Attributes:
        pieces: what of a word has its label: its first piece, or all of them.
    """

    pieces: Literal["first", "all"] = "first"
    predicts: ClassVar[Predicted] = Predicted.TOKEN_LABELS
    named: ClassVar[bool] = True
    by_word: ClassVar[bool] = True

    def columns(self, source: LabelColumns) -> dict[str, Cell]:
        """See `Task.columns`."""
        text = {source.written: Cell.TEXT} if source.written else {}
        return {**text, source.tokens: Cell.VALUE, source.tags: Cell.VALUE}

    def text(self, cells: Mapping[str, str], source: LabelColumns) -> LabelledText:
        """See `Task.text`; words that are not in the text are broken."""
        words, tags = (_names(cells[name], name) for name in (source.tokens, source.tags))
        if len(words) != len(tags):
            raise ValueError(f"words and tags of unequal number ({len(words)} and {len(tags)})")
        if source.written:
            text = cells[source.written]
            spans = located(text, words)
        else:
            text, spans = joined(words)
        return LabelledText(text, None, "", words=spans, tags=tags)

    def rows(self, text: LabelledText, encoding: Any) -> Iterator[tuple[int, int]]:
        """The pieces that have a label."""
        given = encoding.tokens, encoding.offsets, self.pieces == "first"
        return pieces(text.text, text.words, *given)

    def answers(self, text: LabelledText, rows: Rows, encoding: Any) -> Answers:
        """The label of every piece's word."""
        return [text.tags[word] for _, word in rows]

    def keys(self, counts: Ints, answers: NDArray[np.float64]) -> dict[str, Tensor]:
        """`targets` (N,) are numbers of labels."""
        return targets(answers)

    def check(self, source: LabelColumns) -> None:
        """See `Task.check`."""
        no_view(self, source)


@dataclass(frozen=True)
class AnswerSpans(Task):
    """Where the answer to a question is in a text.

    Columns: `question`, `context`, `answer` (a text; nothing, or an empty one, where the context
    has no answer; or SQuAD's {"text": [...], "answer_start": [...]}, of which the first counts) and
    `start`, its first character from 0. A context is cut at its end, and questions whose answer is
    cut off are left out and counted. Questions about one context are held out together.
    """

    predicts: ClassVar[Predicted] = Predicted.SPANS
    cuts: ClassVar[str] = "only_second"

    def columns(self, source: LabelColumns) -> dict[str, Cell]:
        """See `Task.columns`."""
        context = Cell.TEXT if source.passages is None else Cell.NAME
        texts = {source.question or "question": Cell.TEXT, source.context: context}
        start = {source.start: Cell.VALUE} if source.start else {}
        return {**texts, source.answer: Cell.VALUE, **start}

    def text(self, cells: Mapping[str, str], source: LabelColumns) -> LabelledText:
        """See `Task.text`; an answer that is not where it should be is broken."""
        question, context = cells[source.question or "question"], cells[source.context]
        answer = json.loads(cells[source.answer])
        start = json.loads(cells[source.start]) if source.start else None
        if isinstance(answer, dict):  # as SQuAD has them
            texts, starts = answer.get("text"), answer.get("answer_start")
            if not isinstance(texts, list) or not isinstance(starts, list):
                raise ValueError(f"{source.answer!r} is no answer")
            answer, start = (*texts, None)[0], (*starts, None)[0]
        words = []
        if answer:
            if not isinstance(answer, str) or type(start) is not int or start < 0:
                raise ValueError(f"an answer without a start ({ascii(answer)[:40]})")
            if context[start : start + len(answer)] != answer:
                raise ValueError(f"an answer that is not at its start ({ascii(answer)[:40]})")
            words = [(start, start + len(answer))]
        made = LabelledText(question, context, answer or "", words=words)
        made.group = json.dumps([context])
        return made

    def rows(self, text: LabelledText, encoding: Any) -> Iterator[tuple[int, int]]:
        """The first position, for no answer, and every position of the context."""
        inside = [place for place, part in enumerate(encoding.sequence_ids) if part == 1]
        yield 0, 0
        for number, place in enumerate(inside, 1):
            yield place, number

    def answers(self, text: LabelledText, rows: Rows, encoding: Any) -> Answers:
        """The first and the last row of the answer, counted among the example's rows.

        Raises:
            TooLong: the answer is behind the end of what is read.
        """
        if not text.words:
            return [0.0, 0.0]
        ((start, end),) = text.words
        reach = [(number, *encoding.offsets[place]) for place, number in rows[1:]]
        reach = [(number, first, last) for number, first, last in reach if first < last]
        if not reach or (encoding.overflowing and reach[-1][2] < end):
            raise TooLong("an answer that is cut off")
        begins = [number for number, _, last in reach if last > start]
        ends = [number for number, first, _ in reach if first < end]
        if not begins or not ends or begins[0] > ends[-1]:
            raise ValueError("an answer without a token")
        return [float(begins[0]), float(ends[-1])]

    def keys(self, counts: Ints, answers: NDArray[np.float64]) -> dict[str, Tensor]:
        """`options` (2B, C): as starts the first, as ends the second output of every row."""
        first = np.cumsum(counts) - counts
        column = np.arange(int(counts.max()))
        rows = np.where(column < counts[:, None], first[:, None] + column, -1)
        options = np.stack([np.where(rows < 0, -1, 2 * rows + end) for end in (0, 1)], axis=1)
        return {
            "options": torch.from_numpy(options.reshape(2 * len(counts), -1)),
            **targets(answers),
        }

    def check(self, source: LabelColumns) -> None:
        """See `Task.check`."""
        no_view(self, source)


def _names(cell: str, column: str) -> list[str]:
    """A list of texts, or of whole numbers, in JSON.

    Raises:
        ValueError: it is none.
    """
    names = json.loads(cell)
    if isinstance(names, list):
        names = [str(one) if type(one) is int else one for one in names]
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise ValueError(f"{column!r} is no list of texts")
    if not names or not all(one.strip() for one in names):
        raise ValueError(f"{column!r} has an empty text, or none")
    return names
