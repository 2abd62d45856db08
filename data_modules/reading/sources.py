"""Which texts belong to which language: the `sources` of a corpus, resolved into readers."""

from __future__ import annotations

import os
import re
from abc import ABCMeta, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import ClassVar

from data_modules.reading.file_kinds import check_kind
from data_modules.reading.file_patterns import LANGUAGE, files_of, languages_of, nearest
from data_modules.reading.hub_reader import HubReader
from data_modules.reading.readers import FileReader, Reader
from data_modules.reading.tagged_text import TaggedReader
from lit_distill.errors import UserError
from lit_distill.knobs import Count, NotNegative, check_knobs

Paths = str | list[str]

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Origin(metaclass=ABCMeta):  # as a base, ABC would make configs ask for a class_path
    """Where rows of one language or mix are, or of many with one pattern; not what is in them.

    Either `files` or `dataset` is given. With `{language}` in `files`, `validation`, `test` or
    `config` the source stands for every language of `languages`, or, where that is left out, for
    every one for which a pattern of `files` finds a file. A language needs files by one of the
    patterns, not by all.

    Attributes:
        language: a language or mix tag, such as "hi" or "hi-en".
        languages: several tags, for patterns with `{language}`.
        files: a path or glob, or several; .txt, .jsonl, .csv, .parquet, .gz. Relative ones are
            looked up in the corpus's `data_dir`.
        dataset: a hub name, or a local folder in the same format.
        config: the hub dataset's configuration.
        split: the hub dataset's training split; None: there is none.
        revision: the hub dataset's branch, tag or commit.
        streaming: read the hub dataset over the network instead of downloading it first.
        weight: factor of this source's languages in the sampler.
        validation: files with validation texts; by default they are held out by a hash.
        validation_split: a split of the hub dataset instead.
        test: files with test texts.
        test_split: a split of the hub dataset instead.
        limit: read at most so many rows of each training file or hub split.
        licence: of the texts, for reports and model cards; nothing is read by it.
    """

    language: str | None = None
    languages: list[str] | None = None
    files: Paths | None = None
    dataset: str | None = None
    config: str | None = None
    split: str | None = "train"
    revision: str | None = None
    streaming: bool = False
    weight: NotNegative = 1.0
    validation: Paths | None = None
    validation_split: str | None = None
    test: Paths | None = None
    test_split: str | None = None
    limit: Count | None = None
    # not in `repr`, by which stores and cells of evaluations know what they were made of
    licence: str | None = field(default=None, repr=False, compare=False)
    untrained: ClassVar[bool] = False
    """Whether a language may be measured only: have `validation` or `test` and nothing else."""

    def __post_init__(self) -> None:
        check_knobs(type(self), vars(self))

    @abstractmethod
    def file_reader(self, path: Path, limit: int | None) -> Reader:
        """Reads what is wanted of one file."""

    @abstractmethod
    def hub_reader(self, dataset: str, split: str, limit: int | None) -> Reader:
        """Reads what is wanted of one split of `dataset`, a hub name or a folder."""


@dataclass(frozen=True)
class Source(Origin):
    """Texts of one language or mix, or of many with one pattern; see `Origin`.

    Attributes:
        column: where the text is in anything but .txt.
        tags: a column of .jsonl files with the list of its words' language tags ("hi", "en",
            "other", ...), for code-mixed text; see `TaggedReader`.
        tokens: the column with the list of these words.
    """

    column: str = "text"
    tags: str | None = None
    tokens: str = "tokens"

    def file_reader(self, path: Path, limit: int | None) -> Reader:
        """See `Origin.file_reader`."""
        if self.tags is None:
            return FileReader(path, self.column, limit)
        return TaggedReader(path, self.column, limit, tokens=self.tokens, tags=self.tags)

    def hub_reader(self, dataset: str, split: str, limit: int | None) -> Reader:
        """See `Origin.hub_reader`."""
        if self.tags is not None:
            raise UserError(
                f"The source of {dataset} has tags: they are read from .jsonl files only."
            )
        return HubReader(
            dataset, self.config, split, self.revision, self.column, self.streaming, limit
        )


@dataclass
class LanguageTexts:
    """The readers of one language.

    Attributes:
        language: its tag.
        train: training texts, from which validation is held out unless `validation` has readers.
        validation: validation texts, if they are given.
        test: test texts, if they are given.
        weight: factor in the sampler.
    """

    language: str
    train: list[Reader] = field(default_factory=list)
    validation: list[Reader] = field(default_factory=list)
    test: list[Reader] = field(default_factory=list)
    weight: float = 1.0


def resolve(sources: Sequence[Origin], root: Path) -> list[LanguageTexts]:
    """Readers of every language, sorted by tag; several sources of one language are joined.

    Raises:
        UserError: a source is contradictory, a file does not exist, or a pattern finds nothing.
    """
    if not sources:
        raise UserError("The corpus has no sources: set data.init_args.sources.")
    found: dict[str, LanguageTexts] = {}
    for source in sources:
        _check(source)
        for one in _one_language_each(source, root):
            assert one.language is not None
            texts = found.setdefault(one.language, LanguageTexts(one.language))
            if texts.train and texts.weight != one.weight:
                raise UserError(
                    f"Two sources of {one.language!r} have the weights {texts.weight} and "
                    f"{one.weight}: give the language one weight."
                )
            texts.weight = one.weight
            if one.files is not None:
                texts.train += _files(one, one.files, root, one.limit)
            elif one.dataset is not None and one.split is not None:
                texts.train.append(_hub(one, one.split, root, one.limit))
            texts.validation += _split(one, one.validation, one.validation_split, root)
            texts.test += _split(one, one.test, one.test_split, root)
    for texts in found.values():  # overlapping patterns name a file once
        texts.train = list(dict.fromkeys(texts.train))
    return [found[language] for language in sorted(found)]


def _check(source: Origin) -> None:
    shown = _shown(source)
    measured = [source.validation, source.test, source.validation_split, source.test_split]
    only_measured = source.untrained and any(given is not None for given in measured)
    nothing = source.files is None and source.dataset is None
    trained = source.files is not None or source.split is not None
    if (nothing or not trained) and not only_measured:
        raise UserError(f"A source needs either files or a dataset; found {shown}.")
    if source.files is not None and source.dataset is not None:
        raise UserError(f"A source needs either files or a dataset; found {shown}.")
    if source.files is not None and not _listed(source.files):
        raise UserError(f"The source {shown} has an empty list of files.")
    for name, files in (("validation", source.validation), ("test", source.test)):
        if files is not None and getattr(source, f"{name}_split") is not None:
            raise UserError(f"The source {shown} has both {name} files and a {name} split.")


def _one_language_each(source: Origin, root: Path) -> list[Origin]:
    patterned = LANGUAGE in str((source.files, source.validation, source.test, source.config))
    if not patterned:
        if source.languages:
            raise UserError(
                f"The source {_shown(source)} has several languages: its files or its config need "
                f"{LANGUAGE} in their names. For one language use `language`."
            )
        if not source.language:
            raise UserError(f"The source {_shown(source)} does not say its language.")
        return [source]
    if source.language:
        raise UserError(
            f"The source {_shown(source)} has both language: {source.language} and the pattern "
            f"{LANGUAGE}: list the languages under `languages`, or leave them out."
        )
    looked_up = source.files or (None if source.dataset else source.test or source.validation)
    found = {p: languages_of(p, root) for p in _listed(looked_up or []) if LANGUAGE in p}
    for pattern, tags in found.items():
        if not tags:
            files_of(pattern, root)  # raises
    languages = source.languages or sorted(set().union(*found.values()))
    if not languages:
        raise UserError(
            f"The source {_shown(source)} needs `languages`: only patterns in `files` can find "
            "them."
        )
    return [_filled(source, language, found) for language in languages]


def _filled(source: Origin, language: str, found: Mapping[str, set[str]]) -> Origin:
    """The source of one language, the patterns replaced; those that find nothing for it left out.

    Where none finds anything all stay, so that reading them says so.
    """

    def fill(paths: Paths | None) -> Paths | None:
        if paths is None:
            return None
        return [path.replace(LANGUAGE, language) for path in _listed(paths)]

    files = _listed(source.files or [])
    present = [path for path in files if language in found.get(path, {language})]
    return replace(
        source,
        language=language,
        files=None if source.files is None else fill(present or files),
        validation=fill(source.validation),
        test=fill(source.test),
        config=source.config.replace(LANGUAGE, language) if source.config else None,
    )


def _split(source: Origin, files: Paths | None, split: str | None, root: Path) -> list[Reader]:
    if files is not None:
        return _files(source, files, root)
    if split is None:
        return []
    if source.dataset is None:
        raise UserError(
            f"The source of {source.language!r} has files and the hub split {split!r}: give "
            "`validation` or `test` files instead."
        )
    return [_hub(source, split, root)]


def _files(source: Origin, patterns: Paths, root: Path, limit: int | None = None) -> list[Reader]:
    paths = [path for pattern in _listed(patterns) for path in files_of(pattern, root)]
    return [source.file_reader(path, limit) for path in paths]


def _hub(source: Origin, split: str, root: Path, limit: int | None = None) -> Reader:
    return source.hub_reader(
        dataset_place(source.dataset or "", source.revision, root), split, limit
    )


def dataset_place(name: str, revision: str | None, root: Path) -> str:
    """A hub name, or the path of the folder that is meant.

    Raises:
        UserError: it is neither, or a folder with a revision.
    """
    folder = root / Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise UserError(f"{folder} is a local folder and has no revision: remove it.")
        return str(folder)
    if os.path.lexists(folder) and check_kind(folder):  # which names everything but a file
        raise UserError(f"The dataset {folder} is a file: give it as `files`.")
    if name.startswith((".", "~")) or not _HUB_NAME.fullmatch(name):
        raise UserError(
            f"There is no folder {folder}, and a hub name has the form name or owner/name."
            f"{nearest(folder)}"
        )
    return name


def _listed(paths: Paths) -> list[str]:
    return [paths] if isinstance(paths, str) else list(paths)


def _shown(source: Origin) -> str:
    values = {f.name: (getattr(source, f.name), f.default) for f in fields(source) if f.repr}
    given = {name: value for name, (value, default) in values.items() if value != default}
    return str(given) if given else "an empty one"
