"""Cells of a row: what is taken of them, and what is wrong with those that hold something else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any

import pyarrow as pa

from lit_distill.errors import UserError

CHATS = (
    "Chats of several turns are not read: make a row of each prompt and its response, in a column "
    "of text each."
)


@dataclass(frozen=True)
class Broken:
    """A row without a text.

    Attributes:
        number: of its (first) line in a text file, else of the row; from 1.
        reason: why; details stand in parentheses behind it.
    """

    number: int
    reason: str


Row = str | Broken


class Cell(Enum):
    """What is taken of a column; rows hold it as a text."""

    TEXT = "a text"
    NAME = "a text, or a whole number, in decimal digits"
    VALUE = "a text, a number, a list, or nothing, in JSON"


def column_texts(name: str, parts: Iterator[pa.Array], cell: Cell = Cell.TEXT) -> Iterator[Row]:
    """Texts of a column that comes in parts; see `Cell`.

    Raises:
        UserError: it is not a column of texts.
    """
    number = 0
    for part in parts:
        if pa.types.is_dictionary(part.type):
            part = part.dictionary_decode()
        if cell is Cell.VALUE:
            for value in part.to_pylist():
                number += 1
                yield cell_or_broken(value, number, cell)
            continue
        if cell is Cell.NAME and pa.types.is_integer(part.type):
            part = part.cast(pa.string())
        if part.type not in (pa.string(), pa.large_string(), pa.string_view(), pa.null()):
            chats = f" {CHATS}" if pa.types.is_nested(part.type) else ""
            raise UserError(
                f"{name}: the column holds {part.type} and no text.{chats} Name a column of text "
                "in the source."
            )
        # As bytes, since Arrow hands out a whole part or nothing where one value is not UTF-8.
        for value in part.cast(pa.large_binary()).to_pylist():
            number += 1
            if value is None:
                yield text_or_broken(None, number)
            else:
                yield decoded(value, number, text_or_broken)


def column_number(name: str, column: str, there: list[str]) -> int:
    """Where a column is.

    Raises:
        UserError: it is not there, or twice.
    """
    if there.count(column) > 1:
        raise UserError(
            f"{name} has {there.count(column)} columns named {column!r} (of {', '.join(there)}), "
            "and which one is meant cannot be told: rename all but one."
        )
    if column in there:
        return there.index(column)
    close = get_close_matches(column, there, 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UserError(
        f"{name} has no column {column!r}; it has {', '.join(there)}.{hint} Name one of these in "
        "the source."
    )


def text_or_broken(value: Any, number: int) -> Row:
    """A value as text that any tokenizer can take, or why it is none."""
    if not isinstance(value, str):
        return Broken(number, f"no text ({'null' if value is None else type(value).__name__})")
    if not value.strip():
        return Broken(number, "empty")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair
        return Broken(number, "not UTF-8")
    return value


def cell_or_broken(value: Any, number: int, cell: Cell) -> Row:
    """A value as the text that stands for it, or why there is none."""
    if cell is Cell.VALUE:
        return text_or_broken(json.dumps(value, ensure_ascii=False, default=str), number)
    return text_or_broken(str(value) if cell is Cell.NAME and type(value) is int else value, number)


def written(text: str, cell: Cell) -> Any:
    """What a cell of a table of texts holds: lists and numbers are written in JSON there."""
    if cell is not Cell.VALUE:
        return text
    try:
        return json.loads(text) if text.strip() else None
    except (ValueError, RecursionError):
        return text


def decoded(raw: bytes, number: int, parse: Callable[[Any, int], Row]) -> Row:
    """A line of a file as `parse` takes it, or why it is no text."""
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Broken(number, f"not UTF-8 (byte {error.start})")
    line = line.removesuffix("\n").removesuffix("\r")
    return parse(line, number) if line.strip() else Broken(number, "empty")
