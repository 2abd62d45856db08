"""From texts to token stores, once: split, deduplicate, tokenise, cut into windows, count.

Nothing is lost without a word: long texts become several windows, broken rows are counted per file
and stop the run where there are too many.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from data_modules.readers import Broken, Reader
from data_modules.sources import LanguageTexts
from data_modules.token_store import StoreWriter
from lit_distill.errors import UserError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
TEXTS_AT_ONCE = 2000
FORMAT = 1
"""Part of every fingerprint: stores written by another format are made anew."""


@dataclass(frozen=True)
class Settings:
    """What decides the content of a store beside texts and tokenizer; see `MultilingualCorpus`."""

    max_length: int
    holdout: int
    deduplicate: bool
    max_broken: float


@dataclass
class FileReport:
    """What was read from one file or hub split."""

    name: str
    language: str
    rows: int = 0
    broken: int = 0
    first: str = ""
    reasons: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    held_out: int = 0


def fingerprint(texts: Sequence[LanguageTexts], tokenizer: Any, settings: Settings) -> str:
    """Names a store: the same for the same files, tokenizer and settings."""
    digest = blake2b(digest_size=16)
    digest.update(tokenizer.backend_tokenizer.to_str().encode("utf-8"))
    digest.update(json.dumps([FORMAT, asdict(settings)]).encode())
    for language in texts:
        for split in SPLITS:
            stamps = [reader.stamp for reader in getattr(language, split)]
            digest.update(json.dumps([language.language, split, stamps]).encode("utf-8"))
    return digest.hexdigest()


def tokenise(
    texts: Sequence[LanguageTexts], tokenizer: Any, settings: Settings, folder: Path
) -> list[FileReport]:
    """Writes the stores train, validation and test into a new folder.

    Raises:
        UserError: too many broken rows, a language without training or validation text.
    """
    names = [language.language for language in texts]
    size = max(tokenizer.get_vocab().values()) + 1
    writers = {split: StoreWriter(folder / split, names, size) for split in SPLITS}
    cutter = _Cutter(tokenizer, settings.max_length)
    reports: list[FileReport] = []
    with Progress(transient=True) as progress:
        task = progress.add_task("Tokenising", total=sum(len(t.train) for t in texts))
        for number, language in enumerate(texts):
            progress.update(task, description=f"Tokenising {language.language}")
            found = _one_language(language, settings, reports)
            for split, part in _grouped(found):
                for window in cutter.windows(part):
                    writers[split].add(window, number)
            progress.advance(task, len(language.train))
    check_broken(reports, settings.max_broken)
    for writer in writers.values():
        writer.close()
    (folder / "report.json").write_text(
        json.dumps([asdict(report) for report in reports], ensure_ascii=False, indent=1), "utf-8"
    )
    return reports


def check_broken(reports: Sequence[FileReport], share: float) -> None:
    """Stops where a file has too many broken rows.

    Raises:
        UserError: the first such file, with its first broken row.
    """
    for report in reports:
        if report.broken > share * report.rows:
            raise UserError(
                f"{report.name}: {report.broken} of {report.rows} rows are broken "
                f"({report.first}; in all {report.reasons}), more than {share:.1%}. Repair the "
                "file, or raise data.init_args.max_broken."
            )


def _one_language(
    texts: LanguageTexts, settings: Settings, reports: list[FileReport]
) -> Iterator[tuple[Split, str]]:
    """Every text of a language with its split.

    Given test and validation texts come first, so that training leaves them out wherever they
    stand again.
    """
    seen: set[bytes] = set()
    for split in ("test", "validation"):
        for reader in getattr(texts, split):
            report = FileReport(reader.name, texts.language)
            reports.append(report)
            for text in _counted(reader, report):
                seen.add(_hash(text))
                yield split, text
    elsewhere = frozenset(seen)
    for reader in texts.train:
        report = FileReport(reader.name, texts.language)
        reports.append(report)
        for text in _counted(reader, report):
            mark = _hash(text)
            if mark in seen and (settings.deduplicate or mark in elsewhere):
                report.repeated += 1
                continue
            seen.add(mark)
            if not texts.validation and held_out(text, settings.holdout):
                report.held_out += 1
                yield "validation", text
            else:
                yield "train", text


def held_out(text: str, one_in: int) -> bool:
    """Whether a text belongs to validation: decided by the text alone, so copies go together."""
    return crc32(text.encode("utf-8")) % one_in == 0


def _counted(reader: Reader, report: FileReport) -> Iterator[str]:
    for row in reader.rows():
        report.rows += 1
        if not isinstance(row, Broken):
            yield row
            continue
        report.broken += 1
        report.first = report.first or f"first in row {row.row}: {row.reason}"
        kind = row.reason.partition(" (")[0]
        report.reasons[kind] = report.reasons.get(kind, 0) + 1


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8"), digest_size=12).digest()


def _grouped(texts: Iterable[tuple[Split, str]]) -> Iterator[tuple[Split, list[str]]]:
    """Texts in batches of one split each."""
    iterator = iter(texts)
    while part := list(islice(iterator, TEXTS_AT_ONCE)):
        for split in SPLITS:
            own = [text for where, text in part if where == split]
            if own:
                yield split, own


class _Cutter:
    """Tokenises texts and cuts them into windows with the tokenizer's own special tokens around."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        mask = self._backend.encode("a").special_tokens_mask
        ids = self._backend.encode("a").ids
        inner = [index for index, special in enumerate(mask) if not special] or [len(ids)]
        self._before = np.array(ids[: inner[0]], dtype=np.int32)
        self._after = np.array(ids[inner[-1] + 1 :], dtype=np.int32)
        self._room = max_length - len(self._before) - len(self._after)
        if self._room < 1:
            raise UserError(
                f"max_length {max_length} leaves no room beside {len(self._before)} + "
                f"{len(self._after)} special tokens: raise data.init_args.max_length."
            )

    def windows(self, texts: list[str]) -> Iterator[NDArray[np.int32]]:
        """Every window of every text; a text without tokens has none."""
        for encoded in self._backend.encode_batch_fast(texts, add_special_tokens=False):
            ids = np.array(encoded.ids, dtype=np.int32)
            for start in range(0, len(ids), self._room):
                part = ids[start : start + self._room]
                yield np.concatenate([self._before, part, self._after])
