"""What a retrieval set is, wherever it comes from: passages, queries, and what is asked of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from data_modules.reading.readers import Broken, Reader
from data_modules.storing.tokenising import Split


class Text(NamedTuple):
    """A passage or a query in one language; texts of one id say the same.

    Attributes:
        id: its name, in all languages.
        language: tag.
        text: as it was written, without a prefix.
    """

    id: str
    language: str
    text: str


class Entry(NamedTuple):
    """A query with passages.

    Attributes:
        query: its id.
        passages: their ids, the relevant ones first where nobody ordered them.
        relevant: grades of relevance of each; 0: none is known.
        scores: of each by a teacher; None: there are none.
    """

    query: str
    passages: tuple[str, ...]
    relevant: tuple[int, ...]
    scores: tuple[float, ...] | None = None


class Collection(ABC):
    """A set of passages, with queries and lists for the splits.

    What is read is said in the same order each time. A row that says nothing is a `Broken`.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """For people."""

    @property
    @abstractmethod
    def stamp(self) -> str:
        """A text that changes when anything of it does: the cache is keyed by it."""

    @abstractmethod
    def languages(self) -> list[str]:
        """Tags of all languages of passages and queries, sorted."""

    @abstractmethod
    def passages(self) -> Iterator[Text | Broken]:
        """Every passage, in every language that it has.

        Raises:
            UserError: a file cannot be read.
        """

    @abstractmethod
    def queries(self) -> Iterator[Text | Broken]:
        """Every query, in every language that it has.

        Raises:
            UserError: a file cannot be read.
        """

    @abstractmethod
    def entries(self, split: Split) -> Iterator[Entry | Broken]:
        """The lists of one split; nothing where it is not given.

        Raises:
            UserError: a file cannot be read.
        """

    @property
    @abstractmethod
    def given(self) -> frozenset[Split]:
        """Splits for which there are lists; without validation, it is held out of training."""


@dataclass(frozen=True)
class CollectionReader(Reader):
    """Texts of a collection in one language, for what reads single texts.

    Attributes:
        collection: of which.
        language: tag.
        what: passages, queries, or those queries that are asked in testing.
    """

    collection: Collection
    language: str
    what: Literal["passages", "queries", "tested"]

    @property
    def name(self) -> str:
        """The collection's."""
        return f"{self.collection.name} {self.what} {self.language}"

    @property
    def stamp(self) -> str:
        """Of the collection, language and kind."""
        return repr((self.collection.stamp, self.language, self.what))

    def rows(self) -> Iterator[str | Broken]:
        """See `Reader.rows`."""
        asked = self.collection.passages if self.what == "passages" else self.collection.queries
        tested: set[str] = set()
        if self.what == "tested":
            entries = self.collection.entries("test")
            tested = {entry.query for entry in entries if isinstance(entry, Entry)}
        for row in asked():
            if isinstance(row, Broken):
                yield row
            elif row.language == self.language and (self.what != "tested" or row.id in tested):
                yield row.text
