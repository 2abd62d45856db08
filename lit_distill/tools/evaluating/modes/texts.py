"""The texts that a model is asked about, as the data has them: no tokenizer decides on them.

So models with other vocabularies are asked about the same examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_modules.corpus import Corpus
from data_modules.labelled import LabelledCorpus
from data_modules.parallel import ParallelCorpus
from data_modules.prompts import PromptCorpus
from data_modules.reading.columns import RowText
from data_modules.reading.sources import LanguageTexts
from data_modules.storing.splitting import split_rows
from data_modules.storing.tokenising import Split, texts_of_split
from data_modules.tasks.rows import LabelledText
from data_modules.text.deduplication import marks_of
from lit_distill.errors import UserError


class Example(NamedTuple):
    """A text that is asked about.

    Attributes:
        language: its tag.
        text: a plain one, or a row of several columns.
    """

    language: str
    text: str

    @property
    def content(self) -> bytes:
        """What makes it the example that it is: its texts, without their label."""
        if isinstance(self.text, LabelledText):
            return self.text.content
        return (self.text.group if isinstance(self.text, RowText) else self.text).encode("utf-8")


def asked_examples(data: Any) -> list[Example]:
    """The test texts of a corpus, or those for validation where no language has any for testing.

    Args:
        data: needs no tokenizer.

    Raises:
        UserError: it is no corpus of single texts, or has none; or files cannot be read.
    """
    if not isinstance(data, Corpus) or isinstance(data, ParallelCorpus):
        raise UserError(
            f"A {type(data).__name__} holds no single texts to ask about: give a corpus of texts "
            "(MultilingualCorpus, LabelledCorpus, ...)."
        )
    split: Split = "test" if any(own.test for own in data.texts()) else "validation"
    rows = isinstance(data, LabelledCorpus | PromptCorpus)
    found = list(_rows(data, split) if rows else _plain(data, split))
    if not found:
        raise UserError(f"The data has no {split} texts: give `test` files, or lower `holdout`.")
    order = sorted({example.language for example in found})
    return sorted(found, key=lambda example: order.index(example.language))


def hashes(examples: Sequence[Example]) -> NDArray[np.uint64]:
    """The content hash (N,) of every example."""
    return marks_of([example.content for example in examples])


def spread(examples: Sequence[Example], at_most: int) -> list[Example]:
    """At most so many examples of each language, evenly spread over its texts."""
    found: list[Example] = []
    for language in dict.fromkeys(example.language for example in examples):
        own = [example for example in examples if example.language == language]
        count = min(at_most, len(own))
        found += [own[number * len(own) // count] for number in range(count)]
    return found


def _readers(data: Corpus, split: Split) -> list[LanguageTexts]:
    """Those that decide on a split; training texts are long to read, and only held out of."""
    if split == "test":
        return [replace(own, train=[], validation=[]) for own in data.texts()]
    return [replace(own, train=[]) if own.validation else own for own in data.texts()]


def _plain(data: Corpus, split: Split) -> Iterator[Example]:
    for own in _readers(data, split):
        texts = texts_of_split(split, own, data.settings, data.max_broken)
        yield from (Example(own.language, text) for text in texts)


def _rows(data: Corpus, split: Split) -> Iterator[Example]:
    kind: Any = RowText  # whatever the corpus makes of its columns
    for file in split_rows(_readers(data, split), kind, data.settings, data.max_broken):
        for part in file.parts:
            for _, row in part.get(split, []):
                yield Example(file.report.language, row)
