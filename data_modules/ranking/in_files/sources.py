"""Retrieval sets out of files: `RetrievalSource`, a BEIR-like folder or rows with their texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_modules.reading.file_patterns import LANGUAGE, files_of, languages_of
from data_modules.reading.readers import FileReader
from data_modules.reading.sources import Paths
from lit_distill.errors import UserError
from lit_distill.knobs import Count, check_knobs


@dataclass(frozen=True)
class RetrievalSource:
    """Queries, passages and what is relevant, in files of one of two forms.

    A folder as BEIR and MTEB have it: `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl`
    (`_id`, `text`) and judgements `qrels/<split>.tsv` (query id, passage id, grade; or the four
    columns of TREC). Or rows of .jsonl or .parquet files, each with a query, one or several
    positives, and negatives, as texts: `files`, `validation` and `test` without a folder. Relative
    paths start at the corpus's `data_dir`. With `{language}` in `passages`, `queries` or in files
    of rows, texts of one id in several files are one text in several languages.

    Attributes:
        folder: with the files that BEIR has; what is given beside it takes their place.
        passages: files with passages.
        queries: files with queries.
        files: judgements for training, or rows.
        validation: those for validation; by default queries are held out by a hash. Of a folder
            qrels/dev.tsv or qrels/validation.tsv, if there.
        test: those for testing; of a folder qrels/test.tsv, if there.
        lists: .jsonl files with `query` and `passages`, ids both: the passages of a query in the
            order in which a first stage found them, say. Without them lists hold the judged
            passages alone.
        language: of passages, where neither `{language}` nor a column says it.
        query_language: of queries; by default that of passages.
        language_column: the column that says a passage's (or row's) language.
        query_language_column: the column that says a query's.
        id: the column of ids; of rows it may be left null: texts are then known by what they say.
        text: the column of texts, of a folder.
        title: a column that stands before the text of a passage, if it is there; null: none.
        query: the column of the query, of rows.
        positive: the column of one relevant text or of a list of them.
        negatives: a column with a list of others; null: there are none.
        row_scores: a column with a list of teacher's scores, positives before negatives.
        limit: read at most so many rows of each file.
        licence: of the texts, for reports and model cards; nothing is read by it.
    """

    folder: str | None = None
    passages: Paths | None = None
    queries: Paths | None = None
    files: Paths | None = None
    validation: Paths | None = None
    test: Paths | None = None
    lists: Paths | None = None
    language: str | None = None
    query_language: str | None = None
    language_column: str | None = None
    query_language_column: str | None = None
    id: str | None = None
    text: str = "text"
    title: str | None = "title"
    query: str = "query"
    positive: str = "positive"
    negatives: str | None = "negatives"
    row_scores: str | None = None
    limit: Count | None = None
    licence: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_knobs(RetrievalSource, vars(self))

    @property
    def of_rows(self) -> bool:
        """Whether its files hold rows with their texts."""
        return self.folder is None and self.passages is None and self.queries is None

    def filled(self, root: Path) -> RetrievalSource:
        """The same source with the files of its folder.

        Raises:
            UserError: it is contradictory, or a file that it needs is not there.
        """
        if self.of_rows:
            if self.files is None and self.validation is None and self.test is None:
                raise UserError(
                    "A retrieval source needs a `folder` as BEIR has it (corpus.jsonl, "
                    "queries.jsonl, qrels/), or `passages`, `queries` and judgements as `files`, "
                    "or rows with their texts as `files`."
                )
            if self.lists is not None:
                raise UserError(
                    f"The source of {self.files} has rows with their own passages and also "
                    "`lists`, which name passages of a collection: give one of them."
                )
            return self
        if self.folder is None and (self.passages is None or self.queries is None):
            raise UserError(
                "A retrieval source without a `folder` needs both `passages` and `queries` (or "
                f"neither, of rows); found passages: {self.passages}, queries: {self.queries}."
            )
        folder = self.folder or "."
        found = {
            split: next((n for n in names if (root / folder / n).is_file()), None)
            for split, names in QRELS.items()
            if self.folder is not None
        }
        qrels = {split: f"{folder}/{name}" for split, name in found.items() if name}
        own = replace(
            self,
            passages=self.passages or f"{folder}/corpus.jsonl",
            queries=self.queries or f"{folder}/queries.jsonl",
            files=self.files or qrels.get("files"),
            validation=self.validation or qrels.get("validation"),
            test=self.test or qrels.get("test"),
        )
        if not (own.files or own.validation or own.test or own.lists):
            raise UserError(
                f"The retrieval source {folder} has no judgements: put them into "
                f"{root / folder}/qrels/train.tsv, or name them as `files` (`test` to measure)."
            )
        return own


QRELS = {
    "files": ("qrels/train.tsv",),
    "validation": ("qrels/dev.tsv", "qrels/validation.tsv"),
    "test": ("qrels/test.tsv",),
}


@dataclass(frozen=True)
class LanguageFile:
    """A file, and of which language all of it is; None: a column says it."""

    path: Path
    language: str | None


def language_files(
    patterns: Paths, language: str | None, column: str | None, root: Path
) -> list[LanguageFile]:
    """The files of patterns with their languages, sorted by language.

    Args:
        patterns: with `{language}` in them, for every language for which there is a file.
        language: of files that do not say it.
        column: where rows say it.
        root: where relative ones start.

    Raises:
        UserError: a pattern finds nothing, or nobody says the language.
    """
    found: list[LanguageFile] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if LANGUAGE in pattern:
            tags = sorted(languages_of(pattern, root))
            if not tags:
                files_of(pattern, root)  # raises
            for tag in tags:
                paths = files_of(pattern.replace(LANGUAGE, tag), root)
                found += [LanguageFile(path, tag) for path in paths]
            continue
        if column is None and language is None:
            raise UserError(
                f"Nobody says the language of {pattern}: give the source a `language` (and "
                "`query_language` for its queries, if that is another), a `language_column`, or "
                f"{LANGUAGE} in the name of the file."
            )
        own = None if column else language
        found += [LanguageFile(path, own) for path in files_of(pattern, root)]
    return found


def column_languages(files: Sequence[LanguageFile], column: str | None) -> set[str]:
    """All languages of files: as they are named, or as the column says.

    Raises:
        UserError: a file cannot be read.
    """
    found = {file.language for file in files if file.language is not None}
    for file in files:
        if file.language is None and column is not None:
            cells: Iterator[object] = iter(FileReader(file.path, column).rows())
            found |= {cell for cell in cells if isinstance(cell, str)}
    return found
