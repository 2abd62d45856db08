"""Prompts and their responses out of files and hub sets: `PromptSource`, resolved into readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_modules.prompting.form import PromptForm
from data_modules.reading.columns import ColumnsReader, by_language
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
        return PromptReader(columns, self._form)

    def hub_reader(self, dataset: str, split: str, limit: int | None) -> Reader:
        """See `Origin.hub_reader`."""
        place = dataset, self.config, split, self.revision
        columns = tuple((c, HubReader(*place, c, self.streaming, limit)) for c in self.columns)
        return PromptReader(columns, self._form)

    @property
    def columns(self) -> list[str]:
        """Columns that are read, those of the prompt first."""
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
class PromptReader(ColumnsReader):
    """Reads the columns of prompts; see `ColumnsReader`.

    Attributes:
        form: makes a prompt of a row.
    """

    form: PromptForm

    @property
    def stamp(self) -> str:
        """Of the columns and the templates."""
        return repr((self.form, [reader.stamp for _, reader in self.columns]))

    @property
    def holds_answers(self) -> bool:
        """Whether this is a file of `pseudo-label`, whose responses are a teacher's."""
        first = self.first
        if not isinstance(first, FileReader) or ANSWERS_SUFFIX not in first.path.suffixes[-2:]:
            return False
        mark = replace(first, column=ANSWERS_MARK, limit=1).rows()
        return isinstance(next(mark, None), str)

    @property
    def answers_stand_for_references(self) -> bool:
        """Whether responses of a file of `pseudo-label` are not the references that it has."""
        first, response = self.first, self.form.response
        read = response is not None and "response" in response.columns
        if not read or not self.holds_answers or not isinstance(first, FileReader):
            return False
        columns = (replace(first, column=c, limit=ROWS).rows() for c in ("response", "reference"))
        pairs = zip(*columns, strict=True)
        return any(isinstance(known, str) and own != known for own, known in pairs)

    def rows(self) -> Iterator[str | Broken]:
        """Every row of the language: a `PromptText`, or what is wrong with it."""
        for cells in self.cells():
            made = self.form(cells)
            if made is not None:
                yield made


def resolve_prompts(sources: Sequence[PromptSource], root: Path) -> list[LanguageTexts]:
    """Readers of every language, sorted by tag.

    Raises:
        UserError: as of `resolve`; a template cannot be read, or a column is not there; or students
            would be measured by a teacher's answers where there are references.
    """
    split = [by_language(source, source.language_column, root) for source in sources]
    found = resolve([one for own in split for one in own], root)
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
