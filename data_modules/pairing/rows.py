"""Rows of parallel text: what is paired in them, and to which split they belong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from data_modules.pairing.sources import ParallelReader
from data_modules.reading.readers import Broken
from data_modules.storing.corpus_report import FileReport
from data_modules.storing.tokenising import Settings, Split, allowed, held_out
from data_modules.text.deduplication import SeenTexts, marks_of
from lit_distill.errors import UserError

ROWS_AT_ONCE = 1000
PAIR_SPLITS: tuple[Split, ...] = ("train", "validation")
Row = tuple[int, dict[str, str]]


@dataclass(frozen=True)
class Pairing:
    """Which languages stand beside which, by tag.

    Attributes:
        pairs: (source, target), in the order in which batches number them.
        pivot: rows of different files with equal text in this language are one.
    """

    pairs: tuple[tuple[str, str], ...]
    pivot: str | None

    @property
    def languages(self) -> list[str]:
        """Every language of a pair, sorted."""
        return sorted({language for pair in self.pairs for language in pair})

    @classmethod
    def of(
        cls,
        there: Sequence[str],
        sources: Sequence[str] | None,
        targets: Sequence[str] | None,
        pivot: str | None,
    ) -> Pairing:
        """All pairs of a source and another target language.

        Raises:
            UserError: a language is not there, or nothing can be paired.
        """
        for language in (*(sources or ()), *(targets or ()), *((pivot,) if pivot else ())):
            if language not in there:
                raise UserError(f"No source has {language!r}; there are {', '.join(there)}.")
        pairs = [
            (source, target)
            for source in sorted(sources or there)
            for target in sorted(targets or there)
            if source != target
        ]
        if not pairs:
            raise UserError("Nothing can be paired: sources and targets are one language.")
        return cls(tuple(pairs), pivot)


def split_pairs(
    readers: Sequence[ParallelReader],
    pairing: Pairing,
    settings: Settings,
    reports: list[FileReport],
) -> Iterator[tuple[Split, list[Row], FileReport]]:
    """Numbered rows without repeats, some at a time, by split; see `write_pairs`.

    Args:
        readers: of all sources.
        pairing: what is paired.
        settings: of the corpus.
        reports: one for each file is added.

    Raises:
        UserError: files are misaligned.
    """
    languages = pairing.languages
    seen = SeenTexts()
    for part, report in _parts(readers, pairing, languages, reports):
        fine = allowed([[*row.values()] for _, row in part], "train", settings, report)
        part = list(compress(part, fine))
        marks = marks_of([json.dumps(row, sort_keys=True).encode() for _, row in part])
        fresh = seen.add(marks) if settings.deduplicate else np.ones(len(part), dtype=bool)
        report.repeated += int((~fresh).sum())
        kept = [row for row, new in zip(part, fresh.tolist(), strict=True) if new]
        held = [held_out(_key(row, pairing.pivot), settings.holdout) for _, row in kept]
        report.held_out += sum(held)
        for split, wanted in zip(PAIR_SPLITS, (False, True), strict=True):
            own = [row for row, out in zip(kept, held, strict=True) if out == wanted]
            yield split, own, report


def _key(row: dict[str, str], pivot: str | None) -> bytes:
    return row.get(pivot or "", row[min(row)]).encode("utf-8")


def _parts(
    readers: Sequence[ParallelReader],
    pairing: Pairing,
    languages: Sequence[str],
    reports: list[FileReport],
) -> Iterator[tuple[list[Row], FileReport]]:
    """Numbered rows, so many at once, with the report of their file."""
    joined: dict[str, dict[str, str]] = {}  # rows that have the pivot, by its text
    for reader in readers:
        report = FileReport(reader.name, " ".join(reader.languages))
        reports.append(report)
        part: list[Row] = []
        for row in reader.rows():
            report.rows += 1
            if isinstance(row, Broken):
                report.note(f"first at row {row.number}", row.reason)
                continue
            if pairing.pivot in row:
                known = joined.setdefault(row[pairing.pivot], {})
                known.update({language: row[language] for language in row if language not in known})
                continue
            part.append((report.rows, {tag: row[tag] for tag in row if tag in languages}))
            if len(part) == ROWS_AT_ONCE:
                yield part, report
                part = []
        yield part, report
    if joined:
        report = FileReport(f"joined by {pairing.pivot}", str(pairing.pivot), rows=len(joined))
        reports.append(report)
        rows = [{tag: row[tag] for tag in row if tag in languages} for row in joined.values()]
        numbered = [(number, row) for number, row in enumerate(rows, 1) if len(row) > 1]
        for start in range(0, len(numbered), ROWS_AT_ONCE):
            yield numbered[start : start + ROWS_AT_ONCE], report
