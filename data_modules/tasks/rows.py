"""A row of labelled data: the texts that are read, and what of them has which label."""

from __future__ import annotations

import json
from collections.abc import Sequence

from data_modules.reading.columns import RowText

Texts = tuple[str, str | None]
"""A text, or a pair of texts."""
Span = tuple[int, int]
"""Start and end, in characters."""

_APART = "\x1f"  # between texts, in none


class LabelledText(RowText):
    """A text, or several that are read together, with its label; everywhere else it is one text.

    Attributes:
        text: the (first) text.
        second: the other text of a pair; None: there is none.
        label: as the data has it: a name, or a number in decimal digits. Of words, empty.
        choices: of multiple choice, second texts, of which one is right.
        words: of labelled words, where each is in the text; of an answer, where it is in `second`,
            or nothing where it is not there.
        tags: the label of every word.
        teacher: what a teacher reads instead; None: the same.
    """

    text: str
    second: str | None
    label: str
    choices: tuple[str, ...]
    words: tuple[Span, ...]
    tags: tuple[str, ...]
    teacher: Texts | None

    def __new__(
        cls,
        text: str,
        second: str | None,
        label: str,
        choices: Sequence[str] = (),
        words: Sequence[Span] = (),
        tags: Sequence[str] = (),
        teacher: Texts | None = None,
    ) -> LabelledText:
        """The string is all texts, one after the other; attributes hold each."""
        made = super().__new__(cls, " ".join(filter(None, (text, second, *choices))))
        made.text, made.second, made.label, made.teacher = text, second, label, teacher
        made.choices, made.words, made.tags = tuple(choices), tuple(words), tuple(tags)
        # One text with two labels is held out as one.
        made.group = json.dumps([text, second, *made.choices])
        return made

    @property
    def identity(self) -> str:
        """See `RowText.identity`."""
        more = [self.choices, self.words, self.tags]
        return json.dumps([self.text, self.second, self.label, more, self.teacher])

    @property
    def texts(self) -> tuple[str, ...]:
        """See `RowText.texts`: of a pair both, every choice, and what its teacher reads."""
        every = (self.text, self.second, *self.choices, *(self.teacher or ()))
        return tuple(dict.fromkeys(text for text in every if text))

    @property
    def reads(self) -> tuple[Texts, ...]:
        """What models read, one after the other: of multiple choice, one pair for each choice."""
        if self.choices:
            return tuple((self.text, choice) for choice in self.choices)
        return ((self.text, self.second),)

    @property
    def read_by_teacher(self) -> LabelledText:
        """The row as its teacher reads it."""
        if self.teacher is None:
            return self
        text, second = self.teacher
        return LabelledText(text, second, self.label)

    @property
    def content(self) -> bytes:
        """What a content hash is made of: the texts without labels; of one text, its UTF-8."""
        texts = (self.text, self.second, *self.choices)
        return _APART.join(text for text in texts if text is not None).encode("utf-8")
