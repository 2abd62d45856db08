"""How a teacher cache lies on the disk.

A cache is a folder: `cache.json` (`Manifest`), the tokenizer's files, and shards in safetensors. A
corpus has W windows and V' drawings of their masks; item v * W + w is window w as it is read in
drawing v, and a shard holds consecutive items. Of an item, the positions that are learnt from are
kept in the order of the text.

Shapes: I items of a shard, P their kept positions, k likeliest tokens, V vocabulary, D width.

    counts             (I,)    int32    kept positions of every item
    checks             (I,)    uint32   CRC-32 of the tokens that the teacher read
    ids                (P, k)  uint16   the lower 16 bits of the token ids, the likeliest first
    high_ids           (P, b)  uint8    their other bits, where V > 65,536: b = bits * ceil(k / 8)
    log_probabilities  (P, k)  float16  of the whole distribution at the cache's temperature
    log_mass           (P,)    float16  log of the probability of the k together
    states             (P, D)  float16  last hidden states, if they were asked for
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_distill.errors import UserError

MANIFEST = "cache.json"
FORMAT = 1
LOW_BITS = 16
DTYPES = {"I32": np.int32, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "F16": np.float16}
"""Of safetensors, by its names."""

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Manifest:
    """What a cache holds and what it was made of.

    Attributes:
        provenance: all that decides on the content, by name: hashes of `teacher`, `tokenizer` and
            `corpus`; `windows`, `objective`, `seed`, `mask_variants`, `masks`, `template`;
            `positions`, `k`, `temperature`, `tail`, `dtype`, `vocab_size`, `hidden_size` (None
            without states).
        borders: first item of every shard, and at the end the number of items.
        teacher: its name, and revision if it has one, for people.
        error: how far losses from the cache are from the live teacher's, by language: see
            `cache-teacher`. None as long as shards are missing.
    """

    provenance: dict[str, Any]
    borders: list[int]
    teacher: dict[str, str | None]
    error: dict[str, dict[str, float]] | None = None

    @property
    def fingerprint(self) -> str:
        """Sha256 of the provenance: the same for caches of the same things."""
        return sha256(json.dumps(self.provenance, sort_keys=True).encode("utf-8")).hexdigest()

    @property
    def text(self) -> str:
        """As it is written."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Reads `cache.json`.

        Raises:
            UserError: it is not there, or cannot be read.
        """
        path = folder / MANIFEST
        try:
            values = json.loads(path.read_text("utf-8"))
            if values.pop("format") != FORMAT:
                raise ValueError("it was written by another version")
            return cls(**values)
        except FileNotFoundError as error:
            raise UserError(
                f"There is no teacher cache in {folder} (no {MANIFEST}): write one with "
                "`python -m lit_distill cache-teacher`."
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} cannot be read ({error}): write the cache anew in another folder."
            ) from error

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Lines `item: ... in the cache, ... now` for what differs; only items that `other` has."""
        return [
            f"{name}: {_short(self.provenance.get(name))} in the cache, {_short(value)} now"
            for name, value in other.items()
            if self.provenance.get(name) != value
        ]


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"shard-{number:05d}.safetensors"


def pack_ids(ids: NDArray[np.int64], vocab_size: int) -> Arrays:
    """Token ids (P, k) in as many bits as the vocabulary needs: 18 for one of 262,144."""
    high = ids >> LOW_BITS
    planes = [np.packbits((high >> bit) & 1 == 1, axis=1) for bit in range(_high_bits(vocab_size))]
    packed: Arrays = {"ids": (ids & 0xFFFF).astype(np.uint16)}
    return {**packed, "high_ids": np.concatenate(planes, axis=1)} if planes else packed


def unpack_ids(packed: Arrays, vocab_size: int) -> NDArray[np.int32]:
    """The ids (P, k) again."""
    ids = packed["ids"].astype(np.int32)
    bits = _high_bits(vocab_size)
    for bit, plane in enumerate(np.split(packed["high_ids"], bits, axis=1) if bits else ()):
        unpacked = np.unpackbits(plane, axis=1, count=ids.shape[1])
        ids |= unpacked.astype(np.int32) << (LOW_BITS + bit)
    return ids


def open_shard(path: Path) -> Arrays:
    """The arrays of a shard, mapped into memory: nothing is read yet.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        content = np.memmap(path, np.uint8, mode="r")
        start = 8 + int(content[:8].view("<u8")[0])
        header = json.loads(content[8:start].tobytes())
        arrays = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            flat = content[start + begin : start + end].view(DTYPES[entry["dtype"]])
            arrays[name] = flat.reshape(entry["shape"])
        return arrays
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise UserError(
            f"{path} of the teacher cache is missing or damaged ({error}): delete it if it is "
            "there, and run `cache-teacher` again, which writes what is missing."
        ) from error


def ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1, ..., start + length - 1 of every pair, one after the other."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(lengths.sum())


def _high_bits(vocab_size: int) -> int:
    return max((vocab_size - 1).bit_length() - LOW_BITS, 0)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
