"""Which texts belong to which language: the `sources` of a corpus, resolved into readers."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from data_modules.readers import FileReader, HubReader, Reader
from lit_distill.errors import UserError

LANGUAGE = "{language}"
Paths = str | list[str]


@dataclass(frozen=True)
class Source:
    """Texts of one language or mix, or of many with one pattern.

    Either `files` or `dataset` is given. With `{language}` in `files`, `validation`, `test` or
    `config` the source stands for every language of `languages`, or, where that is left out, for
    every one that the first pattern of `files` finds on the disk.

    Attributes:
        language: a language or mix tag, such as "hi" or "hi-en".
        languages: several tags, for patterns with `{language}`.
        files: a path or glob, or several; .txt, .jsonl, .csv, .parquet, .gz. Relative ones are
            looked up in the corpus's `data_dir`.
        dataset: a hub name, or a local folder in the same format.
        config: the hub dataset's configuration.
        split: the hub dataset's training split.
        revision: the hub dataset's branch, tag or commit.
        streaming: read the hub dataset over the network instead of downloading it first.
        column: where the text is in anything but .txt.
        weight: factor of this source's languages in the sampler.
        validation: files with validation texts; by default they are held out by a hash.
        validation_split: a split of the hub dataset instead.
        test: files with test texts.
        test_split: a split of the hub dataset instead.
        limit: read at most so many rows of each hub split.
    """

    language: str | None = None
    languages: list[str] | None = None
    files: Paths | None = None
    dataset: str | None = None
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    streaming: bool = False
    column: str = "text"
    weight: float = 1.0
    validation: Paths | None = None
    validation_split: str | None = None
    test: Paths | None = None
    test_split: str | None = None
    limit: int | None = None


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


def resolve(sources: Sequence[Source], root: Path) -> list[LanguageTexts]:
    """Readers of every language, sorted by tag; several sources of one language are joined.

    Raises:
        UserError: a source is contradictory, a file does not exist, or a pattern finds nothing.
    """
    if not sources:
        raise UserError("The corpus has no sources: set data.init_args.sources.")
    found: dict[str, LanguageTexts] = {}
    for source in sources:
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
                texts.train += _files(one.files, root, one.column)
            else:
                texts.train.append(_hub(one, one.split))
            texts.validation += _split(one, one.validation, one.validation_split, root)
            texts.test += _split(one, one.test, one.test_split, root)
    return [found[language] for language in sorted(found)]


def _one_language_each(source: Source, root: Path) -> list[Source]:
    if (source.files is None) == (source.dataset is None):
        raise UserError(f"A source needs either files or a dataset; found {_shown(source)}.")
    patterned = LANGUAGE in str((source.files, source.validation, source.test, source.config))
    if not patterned:
        if not source.language:
            raise UserError(f"The source {_shown(source)} does not say its language.")
        return [source]
    if source.language:
        raise UserError(
            f"The source {_shown(source)} has both language: {source.language} and the pattern "
            f"{LANGUAGE}: list the languages under `languages`, or leave them out."
        )
    languages = source.languages or _discover(source, root)
    return [_filled(source, language) for language in languages]


def _discover(source: Source, root: Path) -> list[str]:
    """Every language that the first pattern finds."""
    if source.files is None:
        raise UserError(f"The source {_shown(source)} needs `languages`: a hub cannot be searched.")
    pattern = next(p for p in _listed(source.files) if LANGUAGE in p)
    parts = [re.escape(part) for part in str(root / pattern).split(LANGUAGE)]
    wild = [
        part.replace(r"\*\*", ".*").replace(r"\*", "[^/]*").replace(r"\?", ".") for part in parts
    ]
    shape = re.compile(wild[0] + r"([\w-]+)" + r"\1".join(wild[1:]))
    paths = glob.glob(str(root / pattern).replace(LANGUAGE, "*"), recursive=True)
    languages = sorted({match.group(1) for match in map(shape.fullmatch, paths) if match})
    if not languages:
        raise UserError(f"No file matches {root / pattern}.{_near(root / pattern)}")
    return languages


def _filled(source: Source, language: str) -> Source:
    """The source of one language, the pattern replaced."""

    def fill(paths: Paths | None) -> Paths | None:
        if paths is None:
            return None
        return [path.replace(LANGUAGE, language) for path in _listed(paths)]

    return replace(
        source,
        language=language,
        files=fill(source.files),
        validation=fill(source.validation),
        test=fill(source.test),
        config=source.config.replace(LANGUAGE, language) if source.config else None,
    )


def _split(source: Source, files: Paths | None, split: str | None, root: Path) -> list[Reader]:
    if files is not None:
        return _files(files, root, source.column)
    if split is None:
        return []
    if source.dataset is None:
        raise UserError(
            f"The source of {source.language!r} has files and the hub split {split!r}: give "
            "`validation` or `test` files instead."
        )
    return [_hub(source, split)]


def _files(patterns: Paths, root: Path, column: str) -> list[Reader]:
    readers: list[Reader] = []
    for pattern in _listed(patterns):
        path = root / Path(pattern).expanduser()
        if path.is_file():
            paths = [str(path)]
        else:
            paths = sorted(p for p in glob.glob(str(path), recursive=True) if Path(p).is_file())
        if not paths:
            raise UserError(f"No file {path}.{_near(path)}")
        readers += [FileReader(Path(p), column) for p in paths]
    return readers


def _hub(source: Source, split: str) -> Reader:
    assert source.dataset is not None
    return HubReader(
        source.dataset,
        source.config,
        split,
        source.revision,
        source.column,
        source.streaming,
        source.limit,
    )


def _listed(paths: Paths) -> list[str]:
    return [paths] if isinstance(paths, str) else list(paths)


def _near(path: Path) -> str:
    """What there is instead: a file of a similar name, or where the path stops to exist."""
    parent = path.parent
    while not parent.exists() and not set("*?[") & set(parent.name):
        path, parent = parent, parent.parent
    if parent.is_dir():
        names = [entry.name for entry in parent.iterdir()]
        close = get_close_matches(path.name, names, 1)
        if close:
            return f" Did you mean {parent / close[0]}?"
        return f" {parent} has {', '.join(sorted(names)[:5]) or 'nothing'}."
    return ""


def _shown(source: Source) -> str:
    given = {name: value for name, value in vars(source).items() if value != getattr(Source, name)}
    return str(given) if given else "an empty one"
