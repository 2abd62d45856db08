"""Tokens on the disk, memory-mapped: what a corpus is after it was tokenised once.

A store is a folder with Arrow files (shards) of windows, their languages, and token counts. W
windows, L languages, V vocabulary.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SHARD_TOKENS = 1 << 26  # 256 MiB of int32
SCHEMA = pa.schema([("ids", pa.list_(pa.int32())), ("language", pa.int16())])


class TokenStore:
    """One split of a corpus.

    Args:
        folder: where `StoreWriter` wrote it.

    Attributes:
        languages: names; `language` indexes them.
        lengths: (W,) int32, tokens of every window, special ones included.
        language: (W,) int16.
        token_counts: (L, V) int64.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.languages: list[str] = json.loads((folder / "languages.json").read_text("utf-8"))
        self.token_counts: NDArray[np.int64] = np.load(folder / "counts.npy", allow_pickle=False)
        shards = [_open(path) for path in sorted(folder.glob("shard-*.arrow"))]
        self._ids = [ids for ids, _, _ in shards]
        offsets = [offset for _, offset, _ in shards]
        nothing = np.empty(0, dtype=np.int64)
        self._starts = np.concatenate([nothing, *(o[:-1].astype(np.int64) for o in offsets)])
        self.lengths = np.concatenate([nothing, *map(np.diff, offsets)]).astype(np.int32)
        self.language = np.concatenate([nothing, *(x for _, _, x in shards)]).astype(np.int16)
        self._borders = np.cumsum([len(o) - 1 for o in offsets], dtype=np.int64)

    def __reduce__(self) -> tuple[type[TokenStore], tuple[Path]]:
        """A worker process maps the files again instead of receiving their content."""
        return TokenStore, (self.folder,)

    def gather(self, windows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Token ids (M,) of these windows (K,), one after the other."""
        lengths = self.lengths[windows].astype(np.int64)
        ends = np.cumsum(lengths)
        where = np.repeat(self._starts[windows] - (ends - lengths), lengths)
        where += np.arange(len(where))
        if len(self._ids) == 1:
            found: NDArray[np.int32] = self._ids[0][where]
            return found
        shard = np.repeat(np.searchsorted(self._borders, windows, side="right"), lengths)
        result = np.empty(len(where), dtype=np.int32)
        for number in np.unique(shard):
            chosen = shard == number
            result[chosen] = self._ids[number][where[chosen]]
        return result


class StoreWriter:
    """Writes a store shard by shard, so that memory does not grow with the corpus.

    Args:
        folder: a new folder.
        languages: names.
        vocab_size: V.
    """

    def __init__(self, folder: Path, languages: list[str], vocab_size: int) -> None:
        folder.mkdir(parents=True)
        self._folder, self._languages = folder, languages
        self._counts = np.zeros((len(languages), vocab_size), dtype=np.int64)
        self._ids: list[NDArray[np.int32]] = []
        self._owners: list[int] = []
        self._pending = self._shards = self.windows = 0

    def add(self, ids: NDArray[np.int32], language: int) -> None:
        """Adds one window."""
        self._ids.append(ids)
        self._owners.append(language)
        self._pending += len(ids)
        self.windows += 1
        if self._pending >= SHARD_TOKENS:
            self._flush()

    def close(self) -> None:
        """Writes what is left, and what the whole store needs."""
        self._flush()
        np.save(self._folder / "counts.npy", self._counts, allow_pickle=False)
        names = json.dumps(self._languages, ensure_ascii=False)
        (self._folder / "languages.json").write_text(names, "utf-8")

    def _flush(self) -> None:
        if not self._ids:
            return
        flat = np.concatenate(self._ids)
        offsets = np.zeros(len(self._ids) + 1, dtype=np.int32)
        np.cumsum([len(ids) for ids in self._ids], out=offsets[1:])
        owners = np.array(self._owners, dtype=np.int16)
        for language in np.unique(owners):
            own = np.repeat(owners == language, np.diff(offsets))
            counts = np.bincount(flat[own], minlength=self._counts.shape[1])
            self._counts[language] += counts
        lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))
        batch = pa.record_batch([lists, pa.array(owners)], schema=SCHEMA)
        path = self._folder / f"shard-{self._shards:05d}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
            writer.write_batch(batch)
        self._ids, self._owners, self._pending = [], [], 0
        self._shards += 1


def _open(path: Path) -> tuple[NDArray[np.int32], NDArray[Any], NDArray[Any]]:
    """Ids, offsets and languages of one shard, without reading it into memory."""
    with pa.memory_map(str(path)) as file:
        batch = pa.ipc.open_file(file).get_batch(0)
    ids, language = batch.column("ids"), batch.column("language")
    flat = ids.values.to_numpy(zero_copy_only=True)
    return flat, ids.offsets.to_numpy(zero_copy_only=True), language.to_numpy()
