"""How a row of columns becomes a prompt with its response, or what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from data_modules.reading.columns import RowText
from data_modules.reading.readers import Broken
from data_modules.text.templates import Filled, PromptTemplate

NOTHING = ("empty", "no text (null)", "no '")
"""How the reasons of cells begin that hold nothing, rather than something that is no text."""


class PromptText(RowText):
    """A prompt with its response, if it has one; everywhere else it is one text.

    Attributes:
        prompt: what a model continues.
        response: the continuation that is wanted; None: there is none.
        group: rows with an equal one are held out together.
        teacher: what a teacher answered; None: nothing is known.
    """

    prompt: str
    response: str | None
    group: str
    teacher: str | None

    def __new__(
        cls,
        prompt: str,
        response: str | None,
        group: str | None = None,
        teacher: str | None = None,
    ) -> PromptText:
        """The string is prompt and response, one after the other; attributes hold each."""
        made = super().__new__(cls, prompt + (response or ""))
        made.teacher = teacher
        made.prompt, made.response = prompt, response
        made.group = prompt if group is None else group
        return made

    @property
    def identity(self) -> str:
        """See `RowText.identity`."""
        return json.dumps([self.prompt, self.response])

    @property
    def texts(self) -> tuple[str, ...]:
        """See `RowText.texts`: prompt, response, and by what they are held out."""
        every = self.prompt, self.response, self.group
        return tuple(dict.fromkeys(text for text in every if text))


@dataclass(frozen=True)
class PromptForm:
    """How a row becomes a `PromptText`; see `PromptSource`."""

    prompt: PromptTemplate
    response: PromptTemplate | None
    group: PromptTemplate | None
    partly_labelled: bool
    language_column: str | None
    language: str
    rendered: bool = False
    teacher: PromptTemplate | None = None

    def __call__(self, row: Mapping[str, str | Broken]) -> PromptText | Broken | None:
        """The text, what is wrong with the row, or None for a row of another language."""
        if self.language_column is not None and row[self.language_column] != self.language:
            tag = row[self.language_column]
            return tag if isinstance(tag, Broken) else None
        cells = _Cells.of(row)
        for template in filter(None, (self.prompt, self.group)):
            if fault := cells.fault(template, template.required):
                return fault
        prompt, response = self.prompt(cells.texts, self.language), self._response(cells)
        if not prompt.strip():
            return Broken(cells.first_broken(row).number, "empty")
        if isinstance(response, Broken):
            return response
        if self.rendered:
            prompt = prompt.all_literal()
            response = None if response is None else response.all_literal()
        group = None if self.group is None else self.group(cells.texts, self.language)
        teacher = "" if self.teacher is None else self.teacher(cells.texts, self.language)
        return PromptText(prompt, response, group, teacher if teacher.strip() else None)

    def _response(self, cells: _Cells) -> Filled | Broken | None:
        """The response, None where the row may lack one, or what is wrong with it."""
        if self.response is None:
            return None
        if unreadable := cells.fault(self.response, needed=()):
            return unreadable
        response = self.response(cells.texts, self.language)
        if response.strip() and not any(name in cells.broken for name in self.response.required):
            return response
        if self.partly_labelled:
            return None
        missing = cells.first_broken(self.response.columns)
        no_column = missing.reason.startswith("no '")
        return Broken(
            missing.number, f"empty response ({missing.reason})" if no_column else "empty response"
        )


@dataclass(frozen=True)
class _Cells:
    """The cells of a row by column: those with a text, and the others."""

    texts: dict[str, str]
    broken: dict[str, Broken]

    @staticmethod
    def of(row: Mapping[str, str | Broken]) -> _Cells:
        """The cells of a row."""
        texts = {column: cell for column, cell in row.items() if isinstance(cell, str)}
        broken = {column: cell for column, cell in row.items() if isinstance(cell, Broken)}
        return _Cells(texts, broken)

    def first_broken(self, columns: Collection[str]) -> Broken:
        """The first cell without a text, of which there is one."""
        return next(self.broken[column] for column in columns if column in self.broken)

    def fault(self, template: PromptTemplate, needed: Collection[str]) -> Broken | None:
        """The first cell of a template that spoils the row: unreadable, or needed and empty."""
        for column in template.columns:
            cell = self.broken.get(column)
            if cell is not None and (column in needed or not cell.reason.startswith(NOTHING)):
                return _named(cell, column)
        return None


def _named(cell: Broken, column: str) -> Broken:
    """What is wrong with a cell, with the name of its column."""
    if cell.reason == "empty":
        return Broken(cell.number, f"empty {column!r}")
    if cell.reason in ("no text (list)", "no text (dict)"):
        return Broken(
            cell.number,
            f"no text in {column!r} (chats of several turns are not read: make a row of each "
            "prompt and its response, in a column of text each)",
        )
    return cell
