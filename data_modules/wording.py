"""Templates that make texts out of the columns of a row: "Translate to {language}: {text}"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter

from lit_distill.errors import UserError

LANGUAGE_FIELD = "language"
"""The field that is the row's language, and no column."""


@dataclass(frozen=True)
class Wording:
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
        """All of them."""
        return list(dict.fromkeys(name.rstrip("?") for name in self._fields))

    def __call__(self, cells: Mapping[str, str], language: str) -> str:
        """The text of one row.

        Args:
            cells: by column, at least the required ones.
            language: of the row.
        """
        texts = {**cells, LANGUAGE_FIELD: language}
        parts = []
        for literal, name, _, _ in Formatter().parse(self.template):
            parts.append(literal)
            if name is not None:
                parts.append(texts.get(name.rstrip("?"), ""))
        return "".join(parts)
