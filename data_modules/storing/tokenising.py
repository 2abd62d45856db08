"""From texts to token stores, once: split, deduplicate, tokenise, cut into windows, count.

Nothing is lost without a word: long texts become several windows, broken rows are counted per file
and stop the run where there are too many. Memory holds a shard of tokens and, of the language at
hand, 8 bytes per distinct text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import chain, compress
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from data_modules.reading.readers import Broken, Reader
from data_modules.reading.sources import LanguageTexts
from data_modules.reading.tagged_text import TaggedText
from data_modules.recording.exclusion import Exclusion
from data_modules.recording.text_record import TextRecord
from data_modules.storing.corpus_report import FileReport, check_broken
from data_modules.storing.token_store import StoreWriter
from data_modules.storing.token_tags import WORD, TagNumbers, WindowTags, mixing_of
from data_modules.storing.tokenising_bar import TokenisingBar
from data_modules.storing.word_breaks import WordBreaks
from data_modules.text.deduplication import SeenTexts, marks_of
from data_modules.text.framing import Frame
from data_modules.text.markers import engine, plain_engine
from lit_distill.scripts import UNSPACED

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
TEXTS_AT_ONCE = 2000
CHARACTERS_AT_ONCE = 1 << 20  # of long texts fewer: the tokenizer takes about 100 bytes for each
FORMAT = 6
"""Part of every fingerprint: stores written by another format are made anew."""


@dataclass(frozen=True)
class Settings:
    """What decides the content of a store beside texts and tokenizer; see `Corpus`."""

    max_length: int
    holdout: int
    deduplicate: bool
    excluded: Exclusion = Exclusion()  # noqa: RUF009 (frozen)


def fingerprint(
    texts: Sequence[LanguageTexts],
    tokenizer: Any,
    settings: Settings,
    frame: Frame | None = None,
    breaks: WordBreaks | None = None,
) -> str:
    """Names a store: the same for the same files, tokenizer, settings, special tokens and words."""
    digest = blake2b(digest_size=16)
    digest.update(plain_engine(tokenizer).to_str().encode("utf-8"))
    digest.update(json.dumps([FORMAT, asdict(settings)]).encode())
    if frame is not None and frame != Frame.around(tokenizer):  # which the tokenizer says itself
        digest.update(repr(frame).encode())
    if breaks is not None:
        digest.update(breaks.stamp.encode())
    for language in texts:
        for split in SPLITS:
            stamps = [reader.stamp for reader in getattr(language, split)]
            digest.update(json.dumps([language.language, split, stamps]).encode("utf-8"))
    return digest.hexdigest()


def held_out(text: bytes, one_in: int) -> bool:
    """Whether a text (UTF-8) belongs to validation: by the text alone, so copies go together."""
    return crc32(text) % one_in == 0


def tokenise(
    texts: Sequence[LanguageTexts],
    tokenizer: Any,
    settings: Settings,
    frame: Frame,
    breaks: WordBreaks | None,
    max_broken: float,
    folder: Path,
) -> list[FileReport]:
    """Writes the stores train, validation and test, and report.json, into a new folder.

    Raises:
        UserError: a file cannot be read or has too many broken rows.
    """
    names = [language.language for language in texts]
    cutter = Cutter(tokenizer, settings.max_length, frame, breaks)
    size = max(tokenizer.get_vocab().values()) + 1
    writers = {split: StoreWriter(folder / split, names, size) for split in SPLITS}
    record, reports = TextRecord(SPLITS), list[FileReport]()
    readers = [reader for language in texts for reader, _ in _readers(language)]
    with TokenisingBar(readers) as bar:
        for number, language in enumerate(texts):
            splitter = _Splitter(settings, held_out=not language.validation)
            for reader, given in _readers(language):
                report = FileReport(reader.name, language.language)
                reports.append(report)
                for part in _parts(reader, report):
                    splits = splitter.split(part, given, report)
                    record.note(splits)
                    for split, own in splits.items():
                        ids, lengths = cutter.windows(own, report)
                        writers[split].add(ids, lengths, number, cutter.tags)
                        bar.advance(own, len(ids), language.language)
                bar.finish(reader)
                check_broken([report], max_broken)
    for writer in writers.values():
        writer.close(cutter.numbers.names)
    record.write(folder)
    (folder / "report.json").write_text(
        json.dumps([asdict(report) for report in reports], ensure_ascii=False, indent=1), "utf-8"
    )
    return reports


def texts_of_split(
    wanted: Split, texts: LanguageTexts, settings: Settings, max_broken: float
) -> Iterator[str]:
    """The texts of one language and split, split as `tokenise` splits them.

    Raises:
        UserError: a file cannot be read or has too many broken rows.
    """
    splitter = _Splitter(settings, held_out=not texts.validation)
    for reader, given in _readers(texts):
        report = FileReport(reader.name, texts.language)
        for part in _parts(reader, report):
            yield from (text for _, text in splitter.split(part, given, report).get(wanted, []))
        check_broken([report], max_broken)


def _readers(texts: LanguageTexts) -> Iterator[tuple[Reader, Split]]:
    """Given test and validation texts come first, so that training can leave them out."""
    for reader in texts.test:
        yield reader, "test"
    for reader in texts.validation:
        yield reader, "validation"
    for reader in texts.train:
        yield reader, "train"


def _parts(reader: Reader, report: FileReport) -> Iterator[list[tuple[int, str]]]:
    """Numbered texts of a reader, so many at once; broken rows go into the report."""
    part: list[tuple[int, str]] = []
    characters = 0
    for row in reader.rows():
        report.rows += 1
        if isinstance(row, Broken):
            report.note(f"first at {reader.unit} {row.number}", row.reason)
            continue
        part.append((report.rows, row))
        characters += len(row)
        if len(part) == TEXTS_AT_ONCE or characters >= CHARACTERS_AT_ONCE:
            yield part
            part, characters = [], 0
    if part:
        yield part


def allowed(
    rows: Sequence[Sequence[str]], given: Split, settings: Settings, report: FileReport
) -> NDArray[np.bool_]:
    """Which rows (N,) of a split no file excludes, by their texts; the others are counted."""
    if given == "test":
        return np.ones(len(rows), dtype=bool)
    kept = settings.excluded.kept(rows)
    report.excluded += int((~kept).sum())
    return kept


class _Splitter:
    """Decides for the texts of one language where they belong."""

    def __init__(self, settings: Settings, held_out: bool) -> None:
        self._settings, self._held_out = settings, held_out
        self._evaluation, self._seen = SeenTexts(), SeenTexts()

    def split(
        self, part: list[tuple[int, str]], given: Split, report: FileReport
    ) -> dict[Split, list[tuple[int, str]]]:
        """The texts of a part by split; those left out go into the report."""
        encoded = [text.encode("utf-8") for _, text in part]
        marks = marks_of(encoded)
        kept = allowed([(text,) for _, text in part], given, self._settings, report)
        if given != "train":
            self._evaluation.add(marks)
            return {given: list(compress(part, kept))}
        known = self._evaluation.among(marks) & kept
        report.in_evaluation += int(known.sum())
        kept &= ~known
        if self._settings.deduplicate:
            new = self._seen.add(marks[kept])
            report.repeated += int((~new).sum())
            kept[kept] = new
        found: dict[Split, list[tuple[int, str]]] = {"train": [], "validation": []}
        for index in np.flatnonzero(kept).tolist():
            held = self._held_out and held_out(encoded[index], self._settings.holdout)
            found["validation" if held else "train"].append(part[index])
        report.held_out += len(found["validation"])
        return found


class Cutter:
    """Tokenises texts and cuts them into windows with special tokens around.

    Args:
        tokenizer: a fast one.
        max_length: most tokens of a window, special ones included.
        frame: the special tokens; by default the tokenizer's own, around every window.
        breaks: tells words in scripts without spaces, if one asks.

    Attributes:
        tags: languages and starts of the words of the windows made last; None where no text had
            any.
        numbers: of all language tags so far.

    Raises:
        UserError: `max_length` leaves no room for text.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_length: int,
        frame: Frame | None = None,
        breaks: WordBreaks | None = None,
    ) -> None:
        self._backend = engine(tokenizer)
        self._frame, self._max_length = frame or Frame.around(tokenizer), max_length
        self._frame.room(max_length)  # raises
        self._breaks = breaks
        self.tags: WindowTags | None = None
        self.numbers = TagNumbers()

    def windows(
        self, texts: list[tuple[int, str]], report: FileReport
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """All windows of these numbered texts, one after the other: tokens (M,) and lengths (W,).

        A text without tokens (of invisible characters, say) has no window and is broken.
        """
        tagged = any(isinstance(text, TaggedText) for _, text in texts)
        unspaced = self._breaks is not None and any(UNSPACED.search(text) for _, text in texts)
        # Where tokens are in their text is told by the slower one of the two.
        slow = tagged or unspaced
        encode = self._backend.encode_batch if slow else self._backend.encode_batch_fast
        encodings = encode([str(text) for _, text in texts], add_special_tokens=False)
        pieces = [encoding.ids for encoding in encodings]
        lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
        for index in np.flatnonzero(lengths == 0).tolist():
            number, text = texts[index]
            report.note(f"first at row {number}", f"no tokens ({ascii(text)[:40]})")
        flat = np.fromiter(chain.from_iterable(pieces), np.int32, int(lengths.sum()))
        windows = self._frame.cut(lengths, self._max_length)
        self.tags = None
        if slow:
            rows = [
                self._tags(text, encoding.offsets, report)
                for (_, text), encoding in zip(texts, encodings, strict=True)
            ]
            mixing = np.array([mixing_of(text) for _, text in texts], dtype=np.int16)
            tags = windows.filled(np.concatenate(rows), special=False)
            self.tags = WindowTags(tags, np.repeat(mixing, windows.counts))
        return windows.filled(flat), windows.lengths

    def _tags(
        self, text: str, offsets: list[tuple[int, int]], report: FileReport
    ) -> NDArray[np.uint8]:
        """A byte for every token of a text; see `token_tags`."""
        tags = self.numbers.of_tokens(text, offsets)
        if self._breaks is not None:
            tags[self._breaks.of_tokens(text, offsets)] |= WORD
            report.unsegmented += not self._breaks.knows(text)
        return tags
