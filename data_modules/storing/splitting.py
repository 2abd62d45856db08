"""Rows of several columns, one file after the other: numbered, without repeats, split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Generic, TypeVar

import numpy as np

from data_modules.reading.columns import RowText
from data_modules.reading.readers import Broken, Reader
from data_modules.reading.sources import LanguageTexts
from data_modules.storing.corpus_report import FileReport, check_broken
from data_modules.storing.tokenising import (
    SPLITS,
    TEXTS_AT_ONCE,
    Settings,
    Split,
    allowed,
    held_out,
)
from data_modules.text.deduplication import SeenTexts, marks_of

Text = TypeVar("Text", bound=RowText)
Rows = list[tuple[int, Text]]
"""Texts with the numbers of their rows, from 1."""


@dataclass(frozen=True)
class SplitFile(Generic[Text]):
    """What is read of one file or hub split.

    Attributes:
        reader: of it.
        number: of the language.
        report: counts, complete once all parts are read.
        parts: numbered rows by split, some at a time.
    """

    reader: Reader
    number: int
    report: FileReport
    parts: Iterator[dict[Split, Rows[Text]]]


def split_rows(
    texts: Sequence[LanguageTexts], kind: type[Text], settings: Settings, max_broken: float
) -> Iterator[SplitFile[Text]]:
    """All rows, split as every corpus splits them; each file is read to its end before the next.

    Rows of one group are in one split, whatever their language: what is given for validation and
    testing is read first, and training leaves its groups out.

    Args:
        texts: readers of every language.
        kind: what their rows are.
        settings: of the corpus.
        max_broken: share of broken rows of a file above which the run stops.

    Raises:
        UserError: a file cannot be read or has too many broken rows.
    """
    evaluation, seen = SeenTexts(), [SeenTexts() for _ in texts]

    def parts(
        reader: Reader, number: int, given: Split, report: FileReport
    ) -> Iterator[dict[Split, Rows[Text]]]:
        hold_out = given == "train" and not texts[number].validation
        for rows in _rows(reader, kind, report):
            rows = _fresh(rows, given, evaluation, seen[number], settings, report)
            yield _split(rows, given, hold_out, settings, report)
        check_broken([report], max_broken)

    for reader, number, given in _readers(texts):
        report = FileReport(reader.name, texts[number].language)
        yield SplitFile(reader, number, report, parts(reader, number, given, report))


def readers_of(texts: Sequence[LanguageTexts]) -> list[Reader]:
    """All readers, as `split_rows` reads them."""
    return [reader for reader, _, _ in _readers(texts)]


def _readers(texts: Sequence[LanguageTexts]) -> Iterator[tuple[Reader, int, Split]]:
    """Readers with number of language and split; training comes last."""
    for split in reversed(SPLITS):
        for number, language in enumerate(texts):
            for reader in getattr(language, split):
                yield reader, number, split


def _rows(reader: Reader, kind: type[Text], report: FileReport) -> Iterator[Rows[Text]]:
    part: Rows[Text] = []
    for row in reader.rows():
        report.rows += 1
        if isinstance(row, Broken):
            report.note(f"first at {reader.unit} {row.number}", row.reason)
            continue
        assert isinstance(row, kind)
        part.append((report.rows, row))
        if len(part) == TEXTS_AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _fresh(
    rows: Rows[Text],
    given: Split,
    evaluation: SeenTexts,
    seen: SeenTexts,
    settings: Settings,
    report: FileReport,
) -> Rows[Text]:
    """Rows without those excluded and, for training, without repeats and what is measured."""
    rows = list(compress(rows, allowed([row.texts for _, row in rows], given, settings, report)))
    groups = marks_of([row.group.encode("utf-8") for _, row in rows])
    if given != "train":
        evaluation.add(groups)
        return rows
    known = evaluation.among(groups)
    report.in_evaluation += int(known.sum())
    kept = ~known
    if settings.deduplicate:
        marks = marks_of([row.identity.encode() for _, row in rows])
        kept[kept] = seen.add(marks[kept])
        report.repeated += int((~kept & ~known).sum())
    return [rows[index] for index in np.flatnonzero(kept).tolist()]


def _split(
    rows: Rows[Text], given: Split, hold_out: bool, settings: Settings, report: FileReport
) -> dict[Split, Rows[Text]]:
    if not hold_out:
        return {given: rows}
    found: dict[Split, Rows[Text]] = {"train": [], "validation": []}
    for number, row in rows:
        held = held_out(row.group.encode("utf-8"), settings.holdout)
        found["validation" if held else "train"].append((number, row))
    report.held_out += len(found["validation"])
    return found
