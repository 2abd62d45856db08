"""Texts whose words carry language tags, and files that have them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from data_modules.reading.json_rows import has_twice
from data_modules.reading.readers import Broken, FileReader, Row
from lit_distill.errors import UserError

NO_LANGUAGE = frozenset(
    [
        "other",
        "univ",
        "universal",
        "ne",
        "name",
        "named_entity",
        "punct",
        "ambiguous",
        "mixed",
        "unk",
        "undefined",
        "und",
        "x",
        "none",
    ]
)
"""Tags, in lower case, that say no language: of our phrasebook, LinCE, and the ICON tasks."""

Word = tuple[int, int, str | None]


class TaggedText(str):
    """A text that knows the language of its words; everywhere else it is a plain text.

    Attributes:
        words: (start, end, tag) of every word and punctuation mark, in characters, in order; the
            tag is None where there is none.
    """

    words: tuple[Word, ...]

    def __new__(cls, text: str, words: Iterable[Word]) -> TaggedText:
        """The text itself, with the words beside it."""
        made = super().__new__(cls, text)
        made.words = tuple(words)
        return made

    @property
    def word_tags(self) -> list[str | None]:
        """The tags without those of punctuation marks, which the statistics do not count."""
        return [
            tag for start, end, tag in self.words if tag or any(map(str.isalnum, self[start:end]))
        ]

    @property
    def tags(self) -> list[str | None]:
        """A tag or None for every word."""
        return [tag for _, _, tag in self.words]


def located(text: str, tokens: Sequence[str], tags: Sequence[str | None]) -> TaggedText:
    """The text with its words' tags; tokens are looked for in their order.

    Raises:
        ValueError: tokens and tags differ in number, or a token is not in the text.
    """
    if len(tokens) != len(tags):
        raise ValueError(f"{len(tokens)} words and {len(tags)} tags")
    words: list[Word] = []
    end = 0
    for token, tag in zip(tokens, tags, strict=True):
        start = text.find(token, end) if token else -1
        if start < 0:
            raise ValueError(f"words that are not in the text (the first is {token!r})")
        end = start + len(token)
        words.append((start, end, tag if tag and tag.lower() not in NO_LANGUAGE else None))
    return TaggedText(text, words)


@dataclass(frozen=True)
class TaggedReader(FileReader):
    """A .jsonl file with a text, its words, and a language tag for each of them.

    Attributes:
        tokens: the column with the list of words; joined by spaces they are the text where that
            has no column of its own.
        tags: the column with the list of tags; those of `NO_LANGUAGE` say none.
    """

    tokens: str = "tokens"
    tags: str = "tags"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._format != ".jsonl":
            raise UserError(f"{self.path}: language tags of words are read from .jsonl only.")

    @property
    def stamp(self) -> str:
        """As of `FileReader`, and the columns."""
        return f"{super().stamp} {self.tokens} {self.tags}"

    def _json(self, line: Any, number: int) -> Row:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return super()._json(line, number)  # which says what is wrong
        lists: list[list[str]] = []
        for name in (self.tokens, self.tags):
            if has_twice(line, name):
                return Broken(number, f"two {name!r}")
            values = row.get(name) if isinstance(row, dict) else None
            if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
                return Broken(number, f"no list of texts {name!r}")
            lists.append(values)
        tokens, tags = lists
        text = super()._json(line, number) if self.column in row else " ".join(tokens)
        if isinstance(text, Broken):
            return text
        try:
            return located(text, tokens, tags)
        except ValueError as error:
            return Broken(number, str(error))
