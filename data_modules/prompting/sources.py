"""Prompts and their responses out of files and hub sets: `PromptSource`, resolved into readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_modules.prompting.form import PromptForm
from data_modules.reading.file_patterns import LANGUAGE, files_of
from data_modules.reading.hub_reader import HubReader
from data_modules.reading.readers import Broken, FileReader, Reader
from data_modules.reading.sources import LanguageTexts, Origin, resolve
from data_modules.text.templates import PromptTemplate
from lit_distill.errors import UserError

ROWS = 100  # of a file of answers that are looked at
ANSWERS_SUFFIX, ANSWERS_MARK = ".jsonl", "answered_by"
"""By what files of `pseudo-label` are known: their suffix, and a column that others do not have."""


@dataclass(frozen=True)
class PromptSource(Origin):
    """Prompts and responses of one language or mix, or of many; see `Origin`.

    Attributes:
        prompt: template of the prompt: text with `{column}` where a column's text goes, `{column?}`
            where that may be empty, `{language}` for the language. Columns of .jsonl, .csv and
            .parquet; a .txt has a prompt a line and no other column.
        response: template of the response; None: there are prompts alone.
        group: template of what is held out together, such as "{en}" where one English sentence has
            prompts in several languages; by default the prompt.
        partly_labelled: rows whose response is empty are prompts alone; otherwise they are broken.
        language_column: the column that says a row's language; the source then stands for every
            language of `languages`, or, of files, for every one that the column has.
        rendered: the columns hold text that was rendered before: markers of control tokens in them
            ("</s>") are these tokens. By default they are text, and only a template's own are not.
        teacher: template of a teacher's answer, such as the "{teacher?}" of `pseudo-label`. What
            students write to validation and test prompts is compared with it too.
    """

    prompt: str = "{prompt}"
    response: str | None = "{response}"
    group: str | None = None
    partly_labelled: bool = False
    language_column: str | None = None
    rendered: bool = False
    teacher: str | None = None

    def file_reader(self, path: Path, limit: int | None) -> Reader:
        """See `Origin.file_reader`."""
        if len(self.columns) > 1 and ".txt" in path.suffixes[-2:]:
            raise UserError(
                f"{path} has one text a line, and the source reads {', '.join(self.columns)}: set "
                "`response` to null (prompts alone), or give a .jsonl, .csv or .parquet file."
            )
        columns = tuple((c, FileReader(path, c, limit)) for c in self.columns)
        return PromptReader(self._form, columns)

    def hub_reader(self, dataset: str, split: str, limit: int | None) -> Reader:
        """See `Origin.hub_reader`."""
        place = dataset, self.config, split, self.revision
        columns = tuple((c, HubReader(*place, c, self.streaming, limit)) for c in self.columns)
        return PromptReader(self._form, columns)

    @property
    def columns(self) -> list[str]:
        """All that are read, those of the prompt first."""
        every = self.prompt, self.response, self.group, self.teacher
        templates = [template for template in every if template is not None]
        named = [column for template in templates for column in PromptTemplate(template).columns]
        return list(dict.fromkeys([*named, *filter(None, [self.language_column])]))

    @property
    def _form(self) -> PromptForm:
        for name, template in (("prompt", self.prompt), ("response", self.response)):
            if template is not None and not PromptTemplate(template).columns:
                raise UserError(
                    f"The {name} template {template!r} names no column: every row would be alike. "
                    "Write {column} where a column's text goes."
                )
        response, group = (
            None if t is None else PromptTemplate(t) for t in (self.response, self.group)
        )
        place = self.language_column, self.language or ""
        teacher = None if self.teacher is None else PromptTemplate(self.teacher)
        labels = self.partly_labelled, *place, self.rendered, teacher
        return PromptForm(PromptTemplate(self.prompt), response, group, *labels)


@dataclass(frozen=True)
class PromptReader(Reader):
    """Reads the columns of a file or split side by side.

    Args:
        form: makes a prompt of a row.
        columns: name and reader of each.
    """

    form: PromptForm
    columns: tuple[tuple[str, Reader], ...]

    @property
    def name(self) -> str:
        """That of the file or split."""
        return self._first.name

    @property
    def stamp(self) -> str:
        """Of the columns and the templates."""
        return repr((self.form, [reader.stamp for _, reader in self.columns]))

    @property
    def unit(self) -> str:
        """As of the columns."""
        return self._first.unit

    @property
    def size(self) -> int:
        """As of one column, which is the whole file's."""
        return self._first.size

    @property
    def _first(self) -> Reader:
        return self.columns[0][1]

    @property
    def holds_answers(self) -> bool:
        """Whether this is a file of `pseudo-label`, whose responses are a teacher's."""
        first = self._first
        if not isinstance(first, FileReader) or ANSWERS_SUFFIX not in first.path.suffixes[-2:]:
            return False
        mark = replace(first, column=ANSWERS_MARK, limit=1).rows()
        return isinstance(next(mark, None), str)

    @property
    def answers_stand_for_references(self) -> bool:
        """Whether responses of a file of `pseudo-label` are not the references that it has."""
        first, response = self._first, self.form.response
        read = response is not None and "response" in response.columns
        if not read or not self.holds_answers or not isinstance(first, FileReader):
            return False
        columns = (replace(first, column=c, limit=ROWS).rows() for c in ("response", "reference"))
        pairs = zip(*columns, strict=True)
        return any(isinstance(known, str) and own != known for own, known in pairs)

    def rows(self) -> Iterator[str | Broken]:
        """Every row of the language: a `PromptText`, or what is wrong with it."""
        names = [name for name, _ in self.columns]
        for cells in zip(*(reader.rows() for _, reader in self.columns), strict=True):
            made = self.form(dict(zip(names, cells, strict=True)))
            if made is not None:
                yield made


def resolve_prompts(sources: Sequence[PromptSource], root: Path) -> list[LanguageTexts]:
    """Readers of every language, sorted by tag.

    Raises:
        UserError: as of `resolve`; a template cannot be read, or a column is not there; or students
            would be measured by a teacher's answers where there are references.
    """
    found = resolve([one for source in sources for one in _by_column(source, root)], root)
    for texts in found:
        for reader in (*texts.validation, *texts.test):
            if isinstance(reader, PromptReader) and reader.answers_stand_for_references:
                raise UserError(
                    f"{reader.name} is to measure students, and its responses are a teacher's "
                    "answers, beside references: give the file of held-out prompts that "
                    '`pseudo-label` wrote (.validation.jsonl), or `response: "{reference}"`.'
                )
        for reader in texts.train if not texts.validation else []:
            if isinstance(reader, PromptReader) and reader.holds_answers:
                raise UserError(
                    f"{reader.name} holds a teacher's answers (`pseudo-label`), and the source has "
                    "no `validation`: students would be measured by these answers. Give it the "
                    "file of held-out prompts that was written beside it (.validation.jsonl)."
                )
    return found


def _by_column(source: PromptSource, root: Path) -> list[PromptSource]:
    """A source for each language of its column."""
    column = source.language_column
    if column is None:
        return [source]
    if source.language or LANGUAGE in str((source.files, source.config)):
        raise UserError(
            f"A source has language_column: {column} and also a `language` or {LANGUAGE} in its "
            "files: give one of them."
        )
    languages = source.languages
    if not languages and source.files is None:
        raise UserError(
            f"The source of {source.dataset} has language_column: {column}; list the `languages` "
            "as well, since the whole dataset would have to be read to find them."
        )
    if not languages:
        files = [source.files] if isinstance(source.files, str) else source.files or []
        paths = [path for pattern in files for path in files_of(pattern, root)]
        cells = (cell for path in paths for cell in FileReader(path, column, source.limit).rows())
        languages = sorted({cell for cell in cells if isinstance(cell, str)})
    if not languages:
        raise UserError(f"No row has a language in the column {column!r} of {source.files}.")
    return [replace(source, language=language, languages=None) for language in languages]
