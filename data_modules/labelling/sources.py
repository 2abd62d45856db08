"""Labelled texts out of files and hub sets: `LabelledSource`, resolved into readers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_modules.reading.columns import ColumnsReader, RowText, by_language
from data_modules.reading.hub_reader import HubReader
from data_modules.reading.readers import Broken, FileReader, Reader
from data_modules.reading.sources import LanguageTexts, Origin, resolve
from lit_distill.errors import UserError


class LabelledText(RowText):
    """A text, or a pair of texts, with its label; everywhere else it is one text.

    Attributes:
        text: the (first) text.
        second: the other text of a pair; None: there is none.
        label: as the data has it: a name, or a number in decimal digits.
    """

    text: str
    second: str | None
    label: str

    def __new__(cls, text: str, second: str | None, label: str) -> LabelledText:
        """The string is both texts, one after the other; attributes hold each."""
        made = super().__new__(cls, text if second is None else f"{text} {second}")
        made.text, made.second, made.label = text, second, label
        made.group = json.dumps([text, second])  # one text with two labels is held out as one
        return made

    @property
    def identity(self) -> str:
        """See `RowText.identity`."""
        return json.dumps([self.text, self.second, self.label])


@dataclass(frozen=True)
class LabelledSource(Origin):
    """Labelled texts of one language or mix, or of many; see `Origin`.

    Attributes:
        text: the column with the text, of .jsonl, .csv and .parquet.
        second: the column with the other text of a pair; None: there are single texts.
        label: the column with the label: a name, or a number.
        language_column: the column that says a row's language; the source then stands for every
            language of `languages`, or, of files, for every one that the column has.
    """

    text: str = "text"
    second: str | None = None
    label: str = "label"
    language_column: str | None = None

    def file_reader(self, path: Path, limit: int | None) -> Reader:
        """See `Origin.file_reader`."""
        if ".txt" in path.suffixes[-2:]:
            raise UserError(
                f"{path} has one text a line and no column {self.label!r}: give a .jsonl, .csv or "
                ".parquet file."
            )
        columns = ((c, FileReader(path, c, limit, c == self.label)) for c in self.columns)
        return LabelledReader(tuple(columns), self._form, self.language_column, self.language)

    def hub_reader(self, dataset: str, split: str, limit: int | None) -> Reader:
        """See `Origin.hub_reader`."""
        place = dataset, self.config, split, self.revision
        columns = (
            (c, HubReader(*place, c, self.streaming, limit, c == self.label)) for c in self.columns
        )
        return LabelledReader(tuple(columns), self._form, self.language_column, self.language)

    @property
    def columns(self) -> list[str]:
        """Columns that are read, that of the text first."""
        named = [self.text, self.second, self.label, self.language_column]
        return list(dict.fromkeys(filter(None, named)))

    @property
    def _form(self) -> tuple[str, str | None, str]:
        return self.text, self.second, self.label


@dataclass(frozen=True)
class LabelledReader(ColumnsReader):
    """Reads labelled texts; see `ColumnsReader`.

    Attributes:
        form: columns of the text, of the other text, and of the label.
        language_column: as in `LabelledSource`.
        language: whose rows are read, where there is such a column.
    """

    form: tuple[str, str | None, str]
    language_column: str | None
    language: str | None

    @property
    def stamp(self) -> str:
        """Of the columns and what they are."""
        place = self.language_column and (self.language_column, self.language)
        return repr((self.form, place, [reader.stamp for _, reader in self.columns]))

    def rows(self) -> Iterator[str | Broken]:
        """Every row of the language: a `LabelledText`, or what is wrong with it."""
        for cells in self.cells():
            own = cells[self.language_column] if self.language_column else self.language
            if isinstance(own, str) and own != self.language:
                continue
            broken = [_named(c, name) for name, c in cells.items() if isinstance(c, Broken)]
            sound = {name: cell for name, cell in cells.items() if isinstance(cell, str)}
            yield broken[0] if broken else self._text(sound)

    def _text(self, cells: dict[str, str]) -> LabelledText:
        text, second, label = self.form
        return LabelledText(cells[text], cells[second] if second else None, cells[label].strip())


def resolve_labelled(sources: Sequence[LabelledSource], root: Path) -> list[LanguageTexts]:
    """Readers of every language, sorted by tag.

    Raises:
        UserError: as of `resolve`; or the languages of a column cannot be found.
    """
    split = [by_language(source, source.language_column, root) for source in sources]
    return resolve([one for own in split for one in own], root)


def _named(cell: Broken, column: str) -> Broken:
    """What is wrong with a cell, with the name of its column."""
    named = repr(column) in cell.reason or "JSON" in cell.reason or "CSV" in cell.reason
    return cell if named else Broken(cell.number, f"{column!r} {cell.reason}")
