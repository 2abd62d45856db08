"""Templates that make texts out of the columns of a row: "Translate to {language}: {text}"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter

from lit_distill.errors import UserError

LANGUAGE_FIELD = "language"
"""The field that is the row's language, and no column."""


class Filled(str):
    """A text that a template was filled to; everywhere else it is a text.

    Attributes:
        literals: where the template's own words are, (start, stop) in order; all else is data.
    """

    literals: tuple[tuple[int, int], ...]

    def __new__(cls, text: str, literals: tuple[tuple[int, int], ...]) -> Filled:
        """The text, and its literals beside it."""
        made = super().__new__(cls, text)
        made.literals = literals
        return made

    def all_literal(self) -> Filled:
        """The same text, none of which is data."""
        return Filled(self, ((0, len(self)),))


@dataclass(frozen=True)
class PromptTemplate:
    """One template.

    Args:
        template: text with `{column}` where a column's text goes, `{column?}` where it goes if
            there is any; `{language}` is the row's language; `{{` and `}}` are braces.

    Raises:
        UserError: it is no such template.
    """

    template: str

    def __post_init__(self) -> None:
        """Refuses what is no template."""
        try:
            parts = list(Formatter().parse(self.template))
        except ValueError as error:
            raise UserError(f"The template {self.template!r} cannot be read: {error}.") from error
        for _, name, form, conversion in parts:
            if name is not None and (not name.rstrip("?") or form or conversion):
                raise UserError(
                    f"The template {self.template!r} has a field that names no column: write "
                    "{column} or {column?}, and double braces for braces."
                )

    @property
    def _fields(self) -> list[str]:
        found = [name for _, name, _, _ in Formatter().parse(self.template) if name is not None]
        return [name for name in dict.fromkeys(found) if name != LANGUAGE_FIELD]

    @property
    def required(self) -> list[str]:
        """Columns without which there is no text."""
        return [name for name in self._fields if not name.endswith("?")]

    @property
    def columns(self) -> list[str]:
        """Columns that the template names."""
        return list(dict.fromkeys(name.rstrip("?") for name in self._fields))

    def __call__(self, cells: Mapping[str, str], language: str) -> Filled:
        """The text of one row.

        Args:
            cells: by column, at least the required ones.
            language: of the row.
        """
        texts = {**cells, LANGUAGE_FIELD: language}
        text, literals = "", []
        for literal, name, _, _ in Formatter().parse(self.template):
            literals.append((len(text), len(text) + len(literal)))
            text += literal
            if name is not None:
                text += texts.get(name.rstrip("?"), "")
        return Filled(text, tuple(literals))
