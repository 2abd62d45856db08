"""Labelled texts out of files and hub sets: `LabelledSource`, resolved into readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from data_modules.reading.cells import Broken, Cell
from data_modules.reading.columns import ColumnsReader, by_language
from data_modules.reading.conll import CONLL, ConllReader, is_conll
from data_modules.reading.file_patterns import LANGUAGE, files_of
from data_modules.reading.hub_reader import HubReader
from data_modules.reading.readers import FileReader, Reader
from data_modules.reading.sources import LanguageTexts, Origin, resolve
from data_modules.reading.sources import Paths as Paths  # types of inherited fields, which are
from data_modules.tasks.columns import LabelColumns
from data_modules.tasks.rows import LabelledText as LabelledText
from data_modules.tasks.task import Task
from data_modules.tasks.text_tasks import Classification
from data_modules.tasks.word_tasks import TokenLabels
from lit_distill.errors import UserError
from lit_distill.knobs import Count as Count  # looked up here by whoever reads a config
from lit_distill.knobs import NotNegative as NotNegative
from lit_distill.knobs import Whole as Whole


@dataclass(frozen=True)
class LabelledSource(LabelColumns, Origin):
    """Labelled texts of one language or mix, or of many; see `Origin`.

    What is in its columns is the task's to say, see `LabelColumns`. A source with nothing but
    `validation` or `test` is a language that is measured and not trained on: zero-shot transfer.

    Attributes:
        language_column: the column that says a row's language; the source then stands for every
            language of `languages`, or, of files, for every one that the column has.
    """

    language_column: str | None = None
    untrained: ClassVar[bool] = True

    def file_reader(self, path: Path, limit: int | None) -> Reader:
        """See `Origin.file_reader`; of a source that no task asks, labels of texts are meant."""
        return self.asked(Classification()).file_reader(path, limit)

    def hub_reader(self, dataset: str, split: str, limit: int | None) -> Reader:
        """See `Origin.hub_reader`."""
        return self.asked(Classification()).hub_reader(dataset, split, limit)

    def asked(self, task: Task, root: Path = Path()) -> AskedSource:
        """The same source for a task; paths start at `root`.

        Raises:
            UserError: it has not what the task needs.
        """
        task.check(self)
        given = {one.name: getattr(self, one.name) for one in fields(LabelledSource)}
        return AskedSource(**given, task=task, root=root)


@dataclass(frozen=True)
class AskedSource(LabelledSource):
    """A source, and what is asked about its texts.

    Attributes:
        task: says which columns are read.
        root: where relative paths start.
    """

    task: Task = field(default=Classification(), repr=False)
    root: Path = field(default=Path(), repr=False)

    def file_reader(self, path: Path, limit: int | None) -> Reader:
        """See `Origin.file_reader`."""
        if is_conll(path):
            return self._conll(path, limit)
        columns = ((c, FileReader(path, c, limit, cell)) for c, cell in self._cells.items())
        return LabelledReader(tuple(columns), self)

    def hub_reader(self, dataset: str, split: str, limit: int | None) -> Reader:
        """See `Origin.hub_reader`."""
        place = dataset, self.config, split, self.revision
        columns = (
            (c, HubReader(*place, c, self.streaming, limit, cell))
            for c, cell in self._cells.items()
        )
        return LabelledReader(tuple(columns), self)

    def _conll(self, path: Path, limit: int | None) -> Reader:
        if not isinstance(self.task, TokenLabels):
            what = "one text a line" if ".txt" in path.suffixes[-2:] else "words"
            raise UserError(
                f"{path} has {what} and no column {self.label!r}: give a .jsonl, .csv or .parquet "
                f"file. (Of words with a label each, in {', '.join(CONLL)}, the task is "
                "TokenLabels.)"
            )
        if self.language_column:
            raise UserError(
                f"{path} is a CoNLL file, and its source has a language_column, which such files "
                "have not: give `language`, or {language} in the name of the file."
            )
        names = ((self.tokens, self.token_column), (self.tags, self.tag_column))
        columns = tuple((name, ConllReader(path, number, limit)) for name, number in names)
        return LabelledReader(columns, replace(self, written=None))

    @property
    def _cells(self) -> dict[str, Cell]:
        """Columns that are read, that of the text first."""
        own = {} if self.language_column is None else {self.language_column: Cell.TEXT}
        return {**self.task.columns(self), **own}

    @property
    def passage_readers(self) -> list[tuple[Reader, Reader]]:
        """Of every file with contexts, who reads their names and who their texts."""
        if self.passages is None:
            return []
        pattern = self.passages.replace(LANGUAGE, self.language or LANGUAGE)
        return [
            (FileReader(path, self.context, cell=Cell.NAME), FileReader(path, self.text))
            for path in files_of(pattern, self.root)
        ]


@dataclass(frozen=True, eq=False)
class LabelledReader(ColumnsReader):
    """Reads labelled texts; see `ColumnsReader`. Two that read the same are equal.

    Attributes:
        source: whose rows they are; its `language` is the one that is read.
    """

    source: AskedSource

    @property
    def stamp(self) -> str:
        """Of the columns and what they are."""
        source = self.source
        columns = [getattr(source, one.name) for one in fields(LabelColumns)]
        place = source.language_column and source.language
        passages = [(name.stamp, text.stamp) for name, text in source.passage_readers]
        readers = [reader.stamp for _, reader in self.columns]
        return repr((source.task, columns, place, passages, readers))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelledReader) and self.stamp == other.stamp

    def __hash__(self) -> int:
        return hash(self.stamp)

    def rows(self) -> Iterator[str | Broken]:
        """Every row of the language: a `LabelledText`, or what is wrong with it."""
        column, first = self.source.language_column, 1 + _has_header(self.first)
        for number, cells in enumerate(self.cells(), first):
            own = cells[column] if column else self.source.language
            if isinstance(own, str) and own != self.source.language:
                continue
            broken = [_named(c, name) for name, c in cells.items() if isinstance(c, Broken)]
            sound = {name: cell for name, cell in cells.items() if isinstance(cell, str)}
            if broken:
                yield broken[0]
                continue
            try:
                yield self.source.task.text(self._looked_up(sound), self.source)
            except ValueError as error:
                yield Broken(number, str(error))

    def _looked_up(self, cells: Mapping[str, str]) -> Mapping[str, str]:
        """The cells, with a context in the place of its name."""
        if self.source.passages is None:
            return cells
        name = cells[self.source.context]
        if name not in self._passages:
            raise ValueError(f"a context that is not among the passages ({ascii(name)[:40]})")
        return {**cells, self.source.context: self._passages[name]}

    @cached_property
    def _passages(self) -> dict[str, str]:
        found = {}
        for names, texts in self.source.passage_readers:
            for name, text in zip(names.rows(), texts.rows(), strict=True):
                if isinstance(name, str) and isinstance(text, str):
                    found[name] = text
        return found


def resolve_labelled(
    sources: Sequence[LabelledSource],
    root: Path,
    task: Task = Classification(),  # noqa: B008 (frozen)
) -> list[LanguageTexts]:
    """Readers of every language, sorted by tag.

    Raises:
        UserError: as of `resolve`; the languages of a column cannot be found; or a source has not
            what the task needs.
    """
    split = [
        by_language(source.asked(task, root), source.language_column, root) for source in sources
    ]
    return resolve([one for own in split for one in own], root)


def _has_header(reader: Reader) -> bool:
    return isinstance(reader, FileReader) and ".csv" in reader.path.suffixes[-2:]


def _named(cell: Broken, column: str) -> Broken:
    """What is wrong with a cell, with the name of its column."""
    known = (repr(column), "JSON", "CSV", "broken columns")
    if any(part in cell.reason for part in known):
        return cell
    return Broken(cell.number, f"{column!r} {cell.reason}")
