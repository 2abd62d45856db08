"""From rows of labelled data to stores of windows, once.

A window is an example: a text, or the two texts of a pair, or all pairs of a multiple choice, with
the special tokens that the tokenizer puts around them; a longer one is cut at its end, as
tokenizers do. Beside it stand its rows and what is right. W windows, P texts that are read, N rows.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.labelling.encoding import Encoded, Encoder
from data_modules.labelling.stored import ANSWERS, COUNTS, EXAMPLES, LABELS, PLACES, READS, TEACHER
from data_modules.labelling.stored_texts import TextsWriter
from data_modules.reading.sources import LanguageTexts
from data_modules.recording.text_record import TextRecord
from data_modules.storing.corpus_report import FileReport
from data_modules.storing.splitting import Rows as Numbered
from data_modules.storing.splitting import readers_of, split_rows
from data_modules.storing.token_store import StoreWriter
from data_modules.storing.tokenising import SPLITS, Settings
from data_modules.storing.tokenising_bar import TokenisingBar
from data_modules.tasks.rows import LabelledText
from data_modules.tasks.task import Answers, Rows, Task, TooLong
from data_modules.text.deduplication import marks_of


@dataclass(frozen=True)
class Views:
    """How texts become tokens.

    Attributes:
        tokenizer: a fast one, of those who learn.
        teacher: of a teacher that reads a text of its own; None: it reads what they read.
        keeps_texts: whether batches will need the texts themselves.
    """

    tokenizer: Any
    teacher: Any = None
    keeps_texts: bool = False


def write_labelled(
    texts: Sequence[LanguageTexts],
    task: Task,
    views: Views,
    settings: Settings,
    max_broken: float,
    folder: Path,
) -> list[FileReport]:
    """Writes the stores train, validation and test, and report.json, into a new folder.

    Args:
        texts: readers of every language.
        task: what is asked.
        views: how they become tokens.
        settings: a text of more than `max_length` tokens is cut, and counted.
        max_broken: share of broken rows of a file above which the run stops.
        folder: does not exist yet.

    Raises:
        UserError: a file cannot be read or has too many broken rows.
    """
    names = [language.language for language in texts]
    known = dict[str, int]()
    encoders = [
        (prefix, tokenizer, Encoder(tokenizer, settings.max_length, task))
        for prefix, tokenizer in (("", views.tokenizer), (TEACHER, views.teacher))
        if tokenizer is not None
    ]
    writers = {}
    for split in SPLITS:
        sides = [_Side(folder / f"{pre}{split}", names, tok, enc) for pre, tok, enc in encoders]
        writers[split] = _Writer(folder / split, sides, task, known, views.keeps_texts)
    record, reports = TextRecord(SPLITS), list[FileReport]()
    with TokenisingBar(readers_of(texts)) as bar:
        for file in split_rows(texts, LabelledText, settings, max_broken):
            reports.append(file.report)
            for part in file.parts:
                record.note(part)
                for split, own in part.items():
                    tokens = writers[split].add(own, file.number, file.report)
                    bar.advance(own, tokens, file.report.language)
            bar.finish(file.reader)
    for writer in writers.values():
        writer.close()
    record.write(folder)
    text = json.dumps([asdict(report) for report in reports], ensure_ascii=False, indent=1)
    (folder / "report.json").write_text(text, "utf-8")
    return reports


class _Side:
    """What one model reads of a split: a token store, and where its texts and rows are."""

    def __init__(self, folder: Path, names: list[str], tokenizer: Any, encoder: Encoder) -> None:
        size = max(tokenizer.get_vocab().values()) + 1
        self._store, self._folder = StoreWriter(folder, names, size), folder
        self.encode = encoder
        self._flat = {name: array("q") for name in READS}

    def add(self, encoded: Sequence[Encoded], language: int) -> int:
        """Adds examples of one language; returns their tokens."""
        for name, values in self._flat.items():
            for one in encoded:
                values.extend(getattr(one, name))
        lengths = np.array([len(one.ids) for one in encoded], dtype=np.int64)
        ids = np.concatenate([np.array(one.ids, dtype=np.int32) for one in encoded])
        self._store.add(ids, lengths, language)
        return int(lengths.sum())

    def close(self) -> None:
        """Writes what is left."""
        self._store.close()
        for name, values in self._flat.items():
            _save(self._folder / READS[name], values, np.int64)


class _Writer:
    """One split: what is read of it, the answers, and where labels stand first."""

    def __init__(
        self, folder: Path, sides: list[_Side], task: Task, known: dict[str, int], texts: bool
    ) -> None:
        self._folder, self._sides, self._task, self._known = folder, sides, task, known
        self._answers: list[float] = []
        self._counts: list[int] = []
        self._examples: list[int] = []
        self._places: dict[str, str] = {}
        self._texts = TextsWriter(folder) if texts else None
        self._choices = 0

    def add(self, rows: Numbered[LabelledText], language: int, report: FileReport) -> int:
        """Adds rows of one language; returns the tokens of those who learn."""
        texts = [row for _, row in rows]
        read = [texts, [text.read_by_teacher for text in texts]]
        sides = zip(self._sides, read, strict=False)
        views = list(zip(*(side.encode(own) for side, own in sides), strict=True))
        kept: list[tuple[LabelledText, Sequence[Encoded]]] = []
        for (number, text), encoded in zip(rows, views, strict=True):
            try:
                answers = self._answer(text, encoded)
            except TooLong:
                report.too_long += 1
                continue
            except ValueError as error:
                report.note(f"first at row {number}", str(error))
                continue
            self._count(text, encoded, report)
            self._note(answers, f"{report.name}, row {number}")
            kept.append((text, encoded))
        if not kept:
            return 0
        self._examples += marks_of([text.content for text, _ in kept]).tolist()
        if self._texts is not None:
            self._texts.add([text for text, _ in kept])
        parts = zip(self._sides, zip(*(encoded for _, encoded in kept), strict=True), strict=True)
        tokens = [side.add(own, language) for side, own in parts]
        return tokens[0]

    def _answer(self, text: LabelledText, encoded: Sequence[Encoded]) -> Answers:
        """What is right.

        Raises:
            ValueError: nothing can be asked.
        """
        if not all(one.ids for one in encoded):
            raise ValueError(f"no tokens ({ascii(text)[:40]})")
        self._choices = self._choices or len(text.choices)
        if len(text.choices) != self._choices:
            found = f"{len(text.choices)}, and the first row has {self._choices}"
            raise ValueError(f"choices of another number ({found})")
        own = encoded[0]
        if not all(len(one.rows) for one in encoded):
            raise ValueError(f"no token of a labelled word ({ascii(text)[:40]})")
        rows: Rows = list(zip(own.rows, own.words, strict=True))
        return self._task.answers(text, rows, own.encoding)

    def _count(self, text: LabelledText, encoded: Sequence[Encoded], report: FileReport) -> None:
        report.cut += any(one.cut for one in encoded)
        if self._task.by_word:
            read = {*encoded[0].words}.intersection(*(one.words for one in encoded[1:]))
            lost = {*range(len(text.words))} - read
            last = min((one.words[-1] for one in encoded if one.cut), default=len(text.words))
            behind = sum(word > last for word in lost)
            report.cut_words += behind
            report.pieceless += len(lost) - behind

    def _note(self, answers: Answers, place: str) -> None:
        self._counts.append(len(answers))
        for answer in answers:
            if isinstance(answer, str):
                self._places.setdefault(answer, place)
                answer = self._known.setdefault(answer, len(self._known))
            self._answers.append(answer)

    def close(self) -> None:
        """Writes what is left."""
        for side in self._sides:
            side.close()
        if self._texts is not None:
            self._texts.close()
        places = [self._places.get(name, "") for name in self._known]
        for file, listed in ((LABELS, [*self._known]), (PLACES, places)):
            (self._folder / file).write_text(json.dumps(listed, ensure_ascii=False), "utf-8")
        _save(self._folder / ANSWERS, self._answers, np.float64)
        _save(self._folder / COUNTS, self._counts, np.int64)
        _save(self._folder / EXAMPLES, self._examples, np.uint64)


def _save(path: Path, values: Sequence[float], kind: Any) -> None:
    np.save(path, np.array(values, dtype=kind), allow_pickle=False)
