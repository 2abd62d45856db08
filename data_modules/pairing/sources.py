"""Texts that say the same in several languages: line-aligned files, or columns of one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path

from data_modules.reading.file_patterns import LANGUAGE, files_of, languages_of
from data_modules.reading.hub_reader import HubReader
from data_modules.reading.readers import Broken, FileReader, Reader
from data_modules.reading.sources import dataset_place
from lit_distill.errors import UserError
from lit_distill.knobs import Count, check_knobs

ParallelRow = dict[str, str] | Broken
"""A text by language, at least two; or why there is none."""


@dataclass(frozen=True)
class ParallelSource:
    """Sentences in several languages.

    Attributes:
        files: with `{language}` in it and without `columns`, line-aligned files: line n of each
            says the same. With `columns`, files whose rows have a text per language; `{language}`
            in a path and in `columns` then stands for several such sets.
        languages: of a pattern with `{language}`; by default all for which it finds a file.
        columns: the column of every language.
        dataset: a hub name or a local folder in the same format, instead of files.
        config: the hub dataset's configuration.
        split: the hub dataset's split.
        revision: the hub dataset's branch, tag or commit.
        streaming: read the hub dataset over the network instead of downloading it first.
        limit: read at most so many rows.
        licence: of the texts, for reports and model cards; nothing is read by it.
    """

    files: str | None = None
    languages: list[str] | None = None
    columns: dict[str, str] = field(default_factory=dict)
    dataset: str | None = None
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    streaming: bool = False
    limit: Count | None = None
    licence: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_knobs(ParallelSource, vars(self))


@dataclass(frozen=True)
class ParallelReader:
    """A reader for each language, whose rows belong together one by one.

    Attributes:
        readers: by language.
    """

    readers: tuple[tuple[str, Reader], ...]

    @property
    def languages(self) -> list[str]:
        """Languages that rows can have."""
        return [language for language, _ in self.readers]

    @property
    def name(self) -> str:
        """For people."""
        return " | ".join(dict.fromkeys(reader.name for _, reader in self.readers))

    @property
    def stamp(self) -> str:
        """Changes when the texts do."""
        return repr([(language, reader.stamp) for language, reader in self.readers])

    def rows(self) -> Iterator[ParallelRow]:
        """Every row in order. A row of which fewer than two languages can be read is broken.

        Raises:
            UserError: a file has fewer rows than another; the message names the line.
        """
        parts = zip_longest(*(reader.rows() for _, reader in self.readers))
        values: tuple[str | Broken | None, ...]
        for number, values in enumerate(parts, 1):
            if None in values:
                raise UserError(self._misaligned(number, values))
            texts = {
                language: value
                for language, value in zip(self.languages, values, strict=True)
                if isinstance(value, str)
            }
            if len(texts) > 1:
                yield texts
            else:
                reasons = [value.reason for value in values if isinstance(value, Broken)]
                yield Broken(number, f"no two texts ({'; '.join(reasons)[:80]})")

    def _misaligned(self, number: int, values: Sequence[str | Broken | None]) -> str:
        pairs = list(zip(self.readers, values, strict=True))
        (_, short), _ = next(pair for pair in pairs if pair[1] is None)
        (_, long), value = next(pair for pair in pairs if pair[1] is not None)
        shown = f" ({value[:40]!r})" if isinstance(value, str) else ""
        return (
            f"{short.name} ends after {short.unit} {number - 1} and {long.name} goes on with "
            f"{long.unit} {number}{shown}: line-aligned files need equally many lines. Find the "
            "line from which they say different things, and repair it."
        )


def resolve_parallel(sources: Sequence[ParallelSource], root: Path) -> list[ParallelReader]:
    """Readers of all sources.

    Raises:
        UserError: a source is contradictory, or its files are not there.
    """
    if not sources:
        raise UserError("There are no parallel sources: set `sources`.")
    return [reader for source in sources for reader in _readers(source, root)]


def _readers(source: ParallelSource, root: Path) -> list[ParallelReader]:
    if (source.files is None) == (source.dataset is None):
        raise UserError(f"A parallel source needs either files or a dataset; found {source}.")
    if source.dataset is not None:
        return [_hub(source, root)]
    pattern = source.files or ""
    if not source.columns:
        return [_aligned(source, pattern, root)]
    if LANGUAGE not in pattern:
        return [_columns(source.columns, path, source.limit) for path in files_of(pattern, root)]
    languages = source.languages or sorted(languages_of(pattern, root))
    if not languages:
        files_of(pattern, root)  # raises
    filled = [
        replace(
            source,
            files=pattern.replace(LANGUAGE, one),
            columns={
                language.replace(LANGUAGE, one): column.replace(LANGUAGE, one)
                for language, column in source.columns.items()
            },
        )
        for one in languages
    ]
    return [reader for one in filled for reader in _readers(one, root)]


def _aligned(source: ParallelSource, pattern: str, root: Path) -> ParallelReader:
    if LANGUAGE not in pattern:
        raise UserError(
            f"{pattern} needs {LANGUAGE} in its name (a file per language), or `columns` with the "
            "column of every language."
        )
    languages = source.languages or sorted(languages_of(pattern, root))
    if len(languages) < 2:
        raise UserError(
            f"{root / pattern} finds {', '.join(languages) or 'no language'}: parallel text needs "
            "two or more."
        )
    readers = []
    for language in languages:
        paths = files_of(pattern.replace(LANGUAGE, language), root)
        if len(paths) > 1:
            raise UserError(
                f"{pattern} finds {len(paths)} files for {language}: line-aligned text needs one "
                "each; give several sources."
            )
        readers.append((language, FileReader(paths[0], limit=source.limit)))
    return ParallelReader(tuple(readers))


def _columns(columns: dict[str, str], path: Path, limit: int | None) -> ParallelReader:
    if len(columns) < 2:
        raise UserError(f"{path} has the columns {columns}: parallel text needs two or more.")
    readers = [(tag, FileReader(path, column, limit)) for tag, column in columns.items()]
    return ParallelReader(tuple(readers))


def _hub(source: ParallelSource, root: Path) -> ParallelReader:
    if len(source.columns) < 2:
        raise UserError(
            f"The dataset {source.dataset} needs `columns`: the column of each language."
        )
    name = dataset_place(source.dataset or "", source.revision, root)
    readers = [
        (
            language,
            HubReader(
                name,
                source.config,
                source.split,
                source.revision,
                column,
                source.streaming,
                source.limit,
            ),
        )
        for language, column in source.columns.items()
    ]
    return ParallelReader(tuple(readers))
