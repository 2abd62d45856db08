"""From parallel rows to stores of texts and tables of pairs, once.

A text is stored once per tokenizer, in how many pairs it may be: P pairs are two numbers each, of
the windows of their source and their target.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_modules.pairing.rows import PAIR_SPLITS, Pairing, Row, split_pairs
from data_modules.pairing.sources import ParallelReader
from data_modules.recording.text_record import TextRecord
from data_modules.storing.corpus_report import FileReport, check_broken
from data_modules.storing.store_files import array_of, reading, require
from data_modules.storing.token_store import StoreWriter, TokenStore
from data_modules.storing.token_tags import UNKNOWN, WORD, WindowTags
from data_modules.storing.tokenising import Settings
from data_modules.storing.word_breaks import WordBreaks
from data_modules.text.framing import Frame
from data_modules.text.language_codes import LanguageCodes
from data_modules.text.markers import engine, plain_engine


@dataclass(frozen=True)
class View:
    """How the texts of a view become tokens.

    Attributes:
        tokenizer: a fast one.
        frame: special tokens around them.
        breaks: tells words in scripts without spaces, if one asks.
        codes: of the languages, which then stand in the frame.
    """

    tokenizer: Any
    frame: Frame
    breaks: WordBreaks | None
    codes: LanguageCodes | None = None

    @property
    def stamp(self) -> str:
        """What decides on the tokens."""
        words = self.breaks.stamp if self.breaks else ""
        codes = f" {self.codes.stamp}" if self.codes else ""
        return f"{plain_engine(self.tokenizer).to_str()} {self.frame} {words}{codes}"

    def framed(self, language: str) -> Frame:
        """The special tokens around texts of a language.

        Raises:
            UserError: there are codes, and it has none.
        """
        return self.codes.framed(self.frame, self.codes.of(language)) if self.codes else self.frame


class PairStore:
    """One split: which windows belong together.

    Args:
        folder: where `write_pairs` wrote it.

    Attributes:
        src: the store of the sources' texts; the same object as `tgt` where tokenizers are one.
        tgt: the store of the targets' texts.
        windows: (2, P) int32, a source's and a target's window of each pair.
        pair: (P,) int16, the number of its languages in `Pairing.pairs`.
        lengths: (P,) int32, tokens of the longer one of the two.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tgt = TokenStore(folder / "tgt")
        self.src = TokenStore(folder / "src") if (folder / "src").is_dir() else self.tgt
        path = folder / "pairs.npy"
        with reading(folder.parent):
            table = array_of(path, np.int32, 2)
            ends = np.array([[len(self.src.lengths)], [len(self.tgt.lengths)]])
            require(len(table) == 3 and bool((table >= 0).all()), path)
            require(bool((table[:2] < ends).all()), path)
        self.windows, self.pair = table[:2], table[2].astype(np.int16)
        self.lengths = np.maximum(
            self.src.lengths[self.windows[0]], self.tgt.lengths[self.windows[1]]
        )

    @property
    def content(self) -> str:
        """Hash of both stores and of which windows belong together."""
        digest = blake2b(f"{self.src.content} {self.tgt.content}".encode(), digest_size=16)
        digest.update(np.array([*self.windows, self.pair], dtype=np.int32).tobytes())
        return digest.hexdigest()


def write_pairs(
    readers: Sequence[ParallelReader],
    pairing: Pairing,
    views: dict[str, View],
    settings: Settings,
    max_broken: float,
    folder: Path,
) -> list[FileReport]:
    """Writes the splits train and validation, and report.json, into a new folder.

    A row is held out by the hash of its pivot's text, or of its first language's; so copies of a
    sentence in several files go together.

    Args:
        readers: of all sources.
        pairing: what is paired.
        views: "tgt" and, where it has a tokenizer of its own, "src".
        settings: a text of more than `max_length` tokens is in no pair, and counted.
        max_broken: share of broken rows of a file above which the run stops.
        folder: does not exist yet.

    Raises:
        UserError: files are misaligned, or too many rows are broken.
    """
    languages = pairing.languages
    writers = {
        split: _Writer(folder / split, languages, pairing, views, settings.max_length)
        for split in PAIR_SPLITS
    }
    record, reports = TextRecord(PAIR_SPLITS), list[FileReport]()
    for split, rows, report in split_pairs(readers, pairing, settings, reports):
        writers[split].add(rows, report)
        record.note({split: [(n, text) for n, row in rows for text in row.values()]})
    for writer in writers.values():
        writer.close()
    record.write(folder)
    for report in reports:
        check_broken([report], max_broken)
    text = json.dumps([asdict(report) for report in reports], ensure_ascii=False, indent=1)
    (folder / "report.json").write_text(text, "utf-8")
    return reports


class _Writer:
    """One split: a store per view, and the table of pairs."""

    def __init__(
        self,
        folder: Path,
        languages: list[str],
        pairing: Pairing,
        views: dict[str, View],
        max_length: int,
    ) -> None:
        folder.mkdir(parents=True)
        self._folder, self._languages, self._pairing = folder, languages, pairing
        self._views, self._max_length = views, max_length
        self._engines = {name: engine(view.tokenizer) for name, view in views.items()}
        sizes = {name: max(view.tokenizer.get_vocab().values()) + 1 for name, view in views.items()}
        self._stores = {
            name: StoreWriter(folder / name, languages, size) for name, size in sizes.items()
        }
        self._sizes = dict.fromkeys(views, 0)
        self._pairs: list[NDArray[np.int32]] = []

    def add(self, rows: list[Row], report: FileReport) -> None:
        """Texts of these rows, and every pair that they make."""
        places = {view: self._texts(view, rows, report) for view in self._engines}
        src, tgt = places.get("src", places["tgt"]), places["tgt"]
        for number, pair in enumerate(self._pairing.pairs):
            sources, targets = src[pair[0]], tgt[pair[1]]
            both = [index for index in sources if index in targets]
            table = [[sources[i] for i in both], [targets[i] for i in both], [number] * len(both)]
            self._pairs.append(np.array(table, dtype=np.int32))

    def _texts(self, view: str, rows: list[Row], report: FileReport) -> dict[str, dict[int, int]]:
        """Window of each text, by language and row."""
        places: dict[str, dict[int, int]] = defaultdict(dict)
        for number, language in enumerate(self._languages):
            own = [(index, row[language]) for index, (_, row) in enumerate(rows) if language in row]
            texts, engine = [text for _, text in own], self._engines[view]
            frame, breaks = self._views[view].framed(language), self._views[view].breaks
            # Where tokens are in their text is told by the slower one of the two.
            encode = engine.encode_batch if breaks else engine.encode_batch_fast
            encodings = encode(texts, add_special_tokens=False)
            room = frame.room(self._max_length) - len(frame.end)
            fits = [i for i, encoding in enumerate(encodings) if 0 < len(encoding.ids) <= room]
            report.too_long += len(own) - len(fits)
            if fits:
                sizes = np.array([len(encodings[index].ids) for index in fits], dtype=np.int64)
                windows = frame.cut(sizes, self._max_length)
                flat = np.concatenate([np.array(encodings[i].ids, np.int32) for i in fits])
                tags = None
                if breaks:
                    begins = [breaks.of_tokens(texts[i], encodings[i].offsets) for i in fits]
                    marks = np.where(np.concatenate(begins), WORD, 0).astype(np.uint8)
                    unknown = np.full(len(fits), UNKNOWN, dtype=np.int16)
                    tags = WindowTags(windows.filled(marks, special=False), unknown)
                    report.unsegmented += sum(not breaks.knows(texts[i]) for i in fits)
                self._stores[view].add(windows.filled(flat), windows.lengths, number, tags)
            for index in fits:
                places[language][own[index][0]] = self._sizes[view]
                self._sizes[view] += 1
        return places

    def close(self) -> None:
        for store in self._stores.values():
            store.close()
        empty = np.empty((3, 0), dtype=np.int32)
        np.save(
            self._folder / "pairs.npy",
            np.concatenate([empty, *self._pairs], axis=1),
            allow_pickle=False,
        )
