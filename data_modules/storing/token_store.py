"""Tokens on the disk, memory-mapped: what a corpus is after it was tokenised once.

A store is a folder with Arrow files (shards) of windows, their languages, and token counts. W
windows, M tokens, L languages, V vocabulary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_modules.storing.store_files import array_of, names_of, reading, require
from data_modules.storing.token_tags import UNKNOWN, WindowTags

SHARD_TOKENS = 1 << 24
"""Tokens of a shard, about: 64 MiB. The writer holds so many, three times over while it writes."""

SCHEMA = pa.schema([("ids", pa.list_(pa.int32())), ("language", pa.int16())])
_CONTENT = re.compile("[0-9a-f]{32}")
TAGGED = (pa.field("tags", pa.list_(pa.uint8())), pa.field("mixing", pa.int16()))
"""Further columns of shards with language tags of words; see `token_tags`."""


class TokenStore:
    """One split of a corpus.

    The tokens stay on the disk; lengths, languages and places take 14 bytes of memory per window.

    Args:
        folder: where `StoreWriter` wrote it.

    Attributes:
        languages: names; `language` indexes them.
        content: hash of all windows: the same wherever and whenever they were made.
        lengths: (W,) int32, tokens of every window, special ones included.
        language: (W,) int16.
        token_counts: (L, V) int64, memory-mapped.
        tag_names: languages of words, where any word has one; `token_tags` numbers them from 1.
        mixing: (W,) int16, code-mixing index of every window's text in whole per cent; -1 unknown.

    Raises:
        UserError: a file is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with reading(folder.parent):
            self.languages = names_of(folder / "languages.json")
            self.content = (folder / "content.txt").read_text("utf-8")
            require(_CONTENT.fullmatch(self.content) is not None, folder / "content.txt")
            counts: NDArray[np.int64] = array_of(folder / "counts.npy", np.int64, 2, mapped=True)
            require(len(counts) == len(self.languages), folder / "counts.npy")
            self.token_counts = counts
            self.tag_names = names_of(folder / "tags.json")
            shards = [_open(path) for path in sorted(folder.glob("shard-*.arrow"))]
            tokens = sum(int(shard.offsets[-1]) for shard in shards)
            if tokens != counts.sum():
                raise ValueError(f"{tokens:,} tokens of {counts.sum():,} are there")
            for shard in shards:
                known = np.isin(shard.language, np.arange(len(self.languages)))
                require(bool(known.all()), folder / "languages.json")
        self._ids = [shard.ids for shard in shards]
        self._tags = [shard.tags for shard in shards]
        offsets = [shard.offsets for shard in shards]
        nothing = np.empty(0, dtype=np.int32)
        self._starts = np.concatenate([nothing, *(offset[:-1] for offset in offsets)])
        self.lengths = np.concatenate([nothing, *map(np.diff, offsets)])
        self.language = np.concatenate([nothing, *(x.language for x in shards)]).astype(np.int16)
        self.mixing = np.concatenate([nothing, *(x.mixing for x in shards)]).astype(np.int16)
        self._borders = np.cumsum([len(offset) - 1 for offset in offsets], dtype=np.int64)

    def __reduce__(self) -> tuple[type[TokenStore], tuple[Path]]:
        """A worker process maps the files again instead of receiving their content."""
        return TokenStore, (self.folder,)

    def windows_per_language(self) -> list[int]:
        """Numbers of windows, in the order of `languages`."""
        counts: list[int] = np.bincount(self.language, minlength=len(self.languages)).tolist()
        return counts

    def gather(self, windows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Token ids (M,) of these windows (K,), one after the other.

        Every token is copied once, whatever the number of shards that are touched.
        """
        return self._gathered(self._ids, windows)

    def gather_tags(self, windows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The byte of `token_tags` for every token that `gather` gives (M,)."""
        return self._gathered(self._tags, windows)

    def _gathered(self, shards: list[NDArray[Any]], windows: NDArray[np.int64]) -> NDArray[Any]:
        lengths = self.lengths[windows].astype(np.int64)
        where = self._starts[windows]
        if len(shards) == 1:
            return shards[0][ranges(where, lengths)]
        targets = np.cumsum(lengths) - lengths
        result = np.empty(lengths.sum(), dtype=shards[0].dtype)
        shard = np.searchsorted(self._borders, windows, side="right")
        order = np.argsort(shard, kind="stable")
        touched, begins = np.unique(shard[order], return_index=True)
        for number, own in zip(touched.tolist(), np.split(order, begins[1:]), strict=True):
            source = ranges(where[own], lengths[own])
            result[ranges(targets[own], lengths[own])] = shards[number][source]
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
        self._lengths: list[NDArray[np.int64]] = []
        self._owners: list[int] = []
        self._tags: list[WindowTags | None] = []
        self._content = blake2b(json.dumps(languages).encode(), digest_size=16)
        self._pending = self._shards = 0

    def add(
        self,
        ids: NDArray[np.int32],
        lengths: NDArray[np.int64],
        language: int,
        tags: WindowTags | None = None,
    ) -> None:
        """Adds windows of one language.

        Args:
            ids: their tokens (M,), one window after the other.
            lengths: (W,).
            language: its number.
            tags: of their words, if known.
        """
        self._tags.append(tags)
        self._ids.append(ids)
        self._lengths.append(lengths)
        self._owners.append(language)
        self._counts[language] += np.bincount(ids, minlength=self._counts.shape[1])
        self._pending += len(ids)
        if self._pending >= SHARD_TOKENS:
            self._flush()

    def close(self, tag_names: Sequence[str] = ()) -> None:
        """Writes what is left, and what the whole store needs."""
        self._flush()
        tags = json.dumps(list(tag_names), ensure_ascii=False)
        (self._folder / "tags.json").write_text(tags, "utf-8")
        np.save(self._folder / "counts.npy", self._counts, allow_pickle=False)
        names = json.dumps(self._languages, ensure_ascii=False)
        (self._folder / "languages.json").write_text(names, "utf-8")
        (self._folder / "content.txt").write_text(self._content.hexdigest(), "utf-8")

    def _flush(self) -> None:
        if not self._ids:
            return
        lengths = np.concatenate(self._lengths)
        offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
        np.cumsum(lengths, out=offsets[1:])
        owners = np.repeat(np.array(self._owners, np.int16), [len(own) for own in self._lengths])
        flat = np.concatenate(self._ids)
        columns = [pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat)), pa.array(owners)]
        schema = SCHEMA
        if any(self._tags):
            tags, mixing = self._joined_tags()
            columns += [pa.ListArray.from_arrays(pa.array(offsets), tags), mixing]
            schema = pa.schema([*SCHEMA, *TAGGED])
        for part in (flat, lengths, owners):
            self._content.update(part.tobytes())
        self._ids, self._lengths, self._owners, self._tags, self._pending = [], [], [], [], 0
        batch = pa.record_batch(columns, schema=schema)
        path = self._folder / f"shard-{self._shards:05d}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            writer.write_batch(batch)
        self._shards += 1

    def _joined_tags(self) -> tuple[pa.Array, pa.Array]:
        """Tags of all pending tokens and mixing of all pending windows."""
        parts = [
            tags or WindowTags(np.zeros(len(ids), np.uint8), np.full(len(own), UNKNOWN, np.int16))
            for tags, ids, own in zip(self._tags, self._ids, self._lengths, strict=True)
        ]
        tags = np.concatenate([part.tags for part in parts])
        return pa.array(tags), pa.array(np.concatenate([part.mixing for part in parts]))


@dataclass(frozen=True)
class _Shard:
    ids: NDArray[np.int32]
    offsets: NDArray[Any]
    language: NDArray[Any]
    tags: NDArray[np.uint8]
    mixing: NDArray[Any]


def ranges(starts: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1, ..., start + length - 1 of every pair, one after the other."""
    ends = np.cumsum(lengths)
    result = np.repeat(starts - (ends - lengths), lengths)
    result += np.arange(len(result))
    return result


def _open(path: Path) -> _Shard:
    """One shard, without reading it into memory; without tags, one zero stands for all of them."""
    with pa.memory_map(str(path)) as file:
        batch = pa.ipc.open_file(file).get_batch(0)
    fields = SCHEMA if "tags" not in batch.schema.names else pa.schema([*SCHEMA, *TAGGED])
    require(batch.schema.equals(fields), path)
    batch.validate()
    require(bool((np.diff(batch.column("ids").offsets.to_numpy()) > 0).all()), path)
    ids, language = batch.column("ids"), batch.column("language")
    flat = ids.values.to_numpy(zero_copy_only=True)
    if "tags" in batch.schema.names:
        tags = batch.column("tags").values.to_numpy(zero_copy_only=True)
        mixing = batch.column("mixing").to_numpy()
    else:
        tags = np.broadcast_to(np.zeros(1, dtype=np.uint8), flat.shape)
        mixing = np.full(len(language), UNKNOWN, dtype=np.int16)
    offsets = ids.offsets.to_numpy(zero_copy_only=True)
    return _Shard(flat, offsets, language.to_numpy(), tags, mixing)
