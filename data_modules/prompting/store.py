"""From rows of prompts and responses to stores of windows, once.

A window is a prompt and, where there is one, its response with the ending token; where the prompt
ends is kept beside it. W windows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_modules.prompting.form import PromptText
from data_modules.prompting.rendering import Rendered, Renderer
from data_modules.reading.sources import LanguageTexts
from data_modules.recording.text_record import TextRecord
from data_modules.storing.corpus_report import FileReport
from data_modules.storing.splitting import Rows, readers_of, split_rows
from data_modules.storing.store_files import array_of, reading, require
from data_modules.storing.token_store import StoreWriter, TokenStore
from data_modules.storing.tokenising import SPLITS, Settings
from data_modules.storing.tokenising_bar import TokenisingBar

_LENGTHS, _ANSWERS = "prompts.npy", "teacher.json"


@dataclass(frozen=True)
class Limits:
    """Most tokens, special ones included.

    Attributes:
        prompt: of a prompt; a longer one is left out and counted.
        whole: of prompt and response, or of the response alone where the two are read apart.
        apart: whether they are.
    """

    prompt: int
    whole: int
    apart: bool


@dataclass(frozen=True)
class Writing:
    """What decides on a store beside the texts; see `PromptCorpus`."""

    renderer: Renderer
    limits: Limits
    settings: Settings
    max_broken: float


def write_prompts(
    texts: Sequence[LanguageTexts], writing: Writing, vocab_size: int, folder: Path
) -> list[FileReport]:
    """Writes the stores train, validation and test, and report.json, into a new folder.

    Raises:
        UserError: a file cannot be read, has too many broken rows, or cannot be rendered.
    """
    names = [language.language for language in texts]
    writers = {split: _Writer(folder / split, names, vocab_size) for split in SPLITS}
    record, reports = TextRecord(SPLITS), list[FileReport]()
    with TokenisingBar(readers_of(texts)) as bar:
        for file in split_rows(texts, PromptText, writing.settings, writing.max_broken):
            reports.append(file.report)
            for part in file.parts:
                record.note(part)
                tokens = 0
                for split, own in part.items():
                    kept = _fitting(own, writing, file.report)
                    tokens += writers[split].add(kept, file.number)
                rows = [row for own in part.values() for row in own]
                bar.advance(rows, tokens, file.report.language)
            bar.finish(file.reader)
    for writer in writers.values():
        writer.close()
    record.write(folder)
    (folder / "report.json").write_text(
        json.dumps([asdict(report) for report in reports], ensure_ascii=False, indent=1), "utf-8"
    )
    return reports


def teacher_answers(store: TokenStore) -> list[str | None]:
    """What a teacher answered to every prompt of a store of validation or test prompts."""
    path = store.folder / _ANSWERS
    with reading(store.folder.parent):
        found = json.loads(path.read_text("utf-8"))
        require(isinstance(found, list) and len(found) == len(store.lengths), path)
        require(all(one is None or isinstance(one, str) for one in found), path)
    return list(found)


def prompt_lengths(store: TokenStore) -> NDArray[np.int64]:
    """Tokens (W,) of the prompt that every window of a store begins with."""
    path = store.folder / _LENGTHS
    with reading(store.folder.parent):
        lengths: NDArray[np.int64] = array_of(path, np.int64, 1)
        require(len(lengths) == len(store.lengths), path)
        require(bool(((lengths >= 0) & (lengths <= store.lengths)).all()), path)
    return lengths


def _fitting(
    rows: Rows[PromptText], writing: Writing, report: FileReport
) -> list[tuple[PromptText, Rendered]]:
    """Rendered rows without those that are broken or too long, which go into the report."""
    kept, limits = [], writing.limits
    rendered = writing.renderer([row for _, row in rows], report.language)
    for (number, row), one in zip(rows, rendered, strict=True):
        length = len(one.response or ()) + (0 if limits.apart else len(one.prompt))
        if one.problem:
            report.note(f"first at row {number}", one.problem)
        elif len(one.prompt) > limits.prompt:
            report.too_long += 1
        elif length > limits.whole:
            report.too_long_responses += 1
        else:
            report.unlabelled += one.response is None
            report.inside += one.inside
            kept.append((row, one))
    return kept


class _Writer:
    """One split: a token store, and where the prompts end."""

    def __init__(self, folder: Path, names: list[str], vocab_size: int) -> None:
        self._store, self._folder = StoreWriter(folder, names, vocab_size), folder
        self._prompts: list[int] = []
        self._answers: list[str | None] | None = None if folder.name == "train" else []

    def add(self, rows: list[tuple[PromptText, Rendered]], language: int) -> int:
        """Adds rows of one language; returns their tokens."""
        if not rows:
            return 0
        rendered = [one for _, one in rows]
        windows = [[*one.prompt, *(one.response or ())] for one in rendered]
        self._prompts += [len(one.prompt) for one in rendered]
        if self._answers is not None:
            self._answers += [row.teacher for row, _ in rows]
        lengths = np.array([len(window) for window in windows], dtype=np.int64)
        flat = np.concatenate([np.array(window, dtype=np.int32) for window in windows])
        self._store.add(flat, lengths, language)
        return len(flat)

    def close(self) -> None:
        self._store.close()
        lengths = np.array(self._prompts, dtype=np.int64)
        np.save(self._folder / _LENGTHS, lengths, allow_pickle=False)
        if self._answers is not None:
            answers = json.dumps(self._answers, ensure_ascii=False)
            (self._folder / _ANSWERS).write_text(answers, "utf-8")
