"""From rows of labelled texts to stores of windows, once.

A window is a text, or the two texts of a pair, with the special tokens that the tokenizer puts
around them; a longer one is cut at its end, as tokenizers do. Beside it stand its label and where
its second text begins. W windows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_modules.labelling.sources import LabelledText
from data_modules.reading.sources import LanguageTexts
from data_modules.storing.corpus_report import FileReport
from data_modules.storing.splitting import Rows, readers_of, split_rows
from data_modules.storing.store_files import array_of, names_of, reading, require
from data_modules.storing.token_store import StoreWriter, TokenStore
from data_modules.storing.tokenising import SPLITS, Settings
from data_modules.storing.tokenising_bar import TokenisingBar
from data_modules.text.markers import engine

_LABELS, _NUMBERS, _FIRSTS = "labels.json", "labels.npy", "firsts.npy"


@dataclass(frozen=True)
class StoredLabels:
    """What stands beside the windows of a store.

    Attributes:
        names: of labels, as the data has them.
        numbers: (W,) int64, each window's label in `names`.
        firsts: (W,) int64, how many tokens come before the second text; all of a single text.
    """

    names: list[str]
    numbers: NDArray[np.int64]
    firsts: NDArray[np.int64]

    @classmethod
    def of(cls, store: TokenStore) -> StoredLabels:
        """The labels of a store that `write_labelled` wrote.

        Raises:
            UserError: they are damaged.
        """
        folder, windows = store.folder, len(store.lengths)
        with reading(folder.parent):
            names = names_of(folder / _LABELS)
            numbers, firsts = (array_of(folder / name, np.int64, 1) for name in (_NUMBERS, _FIRSTS))
            require(len(numbers) == len(firsts) == windows, folder / _NUMBERS)
            require(bool(((numbers >= 0) & (numbers < len(names))).all()), folder / _NUMBERS)
            require(bool(((firsts > 0) & (firsts <= store.lengths)).all()), folder / _FIRSTS)
        return cls(names, numbers, firsts)


def write_labelled(
    texts: Sequence[LanguageTexts],
    tokenizer: Any,
    settings: Settings,
    max_broken: float,
    folder: Path,
) -> list[FileReport]:
    """Writes the stores train, validation and test, and report.json, into a new folder.

    Args:
        texts: readers of every language.
        tokenizer: a fast one.
        settings: a text of more than `max_length` tokens is cut, and counted.
        max_broken: share of broken rows of a file above which the run stops.
        folder: does not exist yet.

    Raises:
        UserError: a file cannot be read or has too many broken rows.
    """
    names = [language.language for language in texts]
    size, known = max(tokenizer.get_vocab().values()) + 1, dict[str, int]()
    backend = engine(tokenizer)
    backend.enable_truncation(settings.max_length)
    writers = {
        split: _Writer(StoreWriter(folder / split, names, size), folder / split, known, backend)
        for split in SPLITS
    }
    reports: list[FileReport] = []
    with TokenisingBar(readers_of(texts)) as bar:
        for file in split_rows(texts, LabelledText, settings, max_broken):
            reports.append(file.report)
            for part in file.parts:
                for split, own in part.items():
                    tokens = writers[split].add(own, file.number, file.report)
                    bar.advance(own, tokens, file.report.language)
            bar.finish(file.reader)
    for writer in writers.values():
        writer.close()
    text = json.dumps([asdict(report) for report in reports], ensure_ascii=False, indent=1)
    (folder / "report.json").write_text(text, "utf-8")
    return reports


class _Writer:
    """One split: a token store, the labels, and where second texts begin."""

    def __init__(
        self, store: StoreWriter, folder: Path, known: dict[str, int], backend: Any
    ) -> None:
        self._store, self._folder, self._known, self._backend = store, folder, known, backend
        self._numbers: list[int] = []
        self._firsts: list[int] = []

    def add(self, rows: Rows[LabelledText], language: int, report: FileReport) -> int:
        """Adds rows of one language; returns their tokens."""
        inputs = [r.text if r.second is None else (r.text, r.second) for _, r in rows]
        windows = []
        for (number, row), encoding in zip(rows, self._backend.encode_batch(inputs), strict=True):
            if all(encoding.special_tokens_mask):
                report.note(f"first at row {number}", f"no tokens ({ascii(row)[:40]})")
                continue
            report.cut += bool(encoding.overflowing)
            self._numbers.append(self._known.setdefault(row.label, len(self._known)))
            self._firsts.append(len(encoding.ids) - sum(encoding.type_ids))
            windows.append(np.array(encoding.ids, dtype=np.int32))
        if not windows:
            return 0
        lengths = np.array([len(window) for window in windows], dtype=np.int64)
        self._store.add(np.concatenate(windows), lengths, language)
        return int(lengths.sum())

    def close(self) -> None:
        self._store.close()
        names = json.dumps(list(self._known), ensure_ascii=False)
        (self._folder / _LABELS).write_text(names, "utf-8")
        for name, values in ((_NUMBERS, self._numbers), (_FIRSTS, self._firsts)):
            np.save(self._folder / name, np.array(values, dtype=np.int64), allow_pickle=False)
