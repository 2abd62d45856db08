"""How a teacher cache lies on the disk.

A cache is a folder: `cache.json` (`Manifest`), the tokenizer's files, and shards in safetensors. A
corpus has W windows and V' drawings of their masks; item v * W + w is window w as it is read in
drawing v, and a shard holds consecutive items. Of an item, the positions that are learnt from are
kept in the order of the text.

Shapes: I items of a shard, P their kept positions, k likeliest tokens, V vocabulary, D width.

    counts             (I,)    int32    kept positions of every item
    checks             (I,)    uint32   CRC-32 of the tokens that the teacher read
    sums               (I,)    uint32   CRC-32 of what is kept of the item; not in older caches
    ids                (P, k)  uint16   the lower 16 bits of the token ids, the likeliest first
    high_ids           (P, b)  uint8    their other bits, where V > 65,536: b = bits * ceil(k / 8)
    log_probabilities  (P, k)  float16  of the whole distribution at the cache's temperature
    log_mass           (P,)    float16  log of the probability of the k together
    states             (P, D)  float16  last hidden states, if they were asked for
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lit_distill.errors import UserError
from lit_distill.losses.fused.signals import Tail

MANIFEST = "cache.json"
FORMAT = 1
LOW_BITS = 16
DTYPES = {"I32": np.int32, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "F16": np.float16}
"""Of safetensors, by its names."""

POSITIONS = ("rows", "tokens")
PER_ITEM = ("counts", "checks", "sums")
"""Arrays of items; the others are of positions."""

_COUNTS = {"k": 1, "vocab_size": 1, "hidden_size": 1, "windows": 1, "mask_variants": 1}  # at least
_OPTIONAL = ("hidden_size", "mask_variants")
NEEDED = ("k", "vocab_size", "hidden_size", "windows", "positions", "temperature", "tail")
"""Items of the provenance without which a cache cannot be read."""

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
            if not isinstance(values, dict):
                raise ValueError("it is no mapping")
            if values.pop("format") != FORMAT:
                raise ValueError("it was written by another version")
            return _sound(cls(**values))
        except FileNotFoundError as error:
            raise UserError(
                f"There is no teacher cache in {folder} (no {MANIFEST}): write one with "
                "`python -m lit_distill cache-teacher`."
            ) from error
        except PermissionError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}): allow it.") from error
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
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


def _sound(manifest: Manifest) -> Manifest:
    """The manifest itself.

    Raises:
        ValueError: an item is of another type than was written, or out of its range.
    """
    provenance, borders, error = manifest.provenance, manifest.borders, manifest.error
    _require(isinstance(provenance, dict), "provenance", provenance)
    for name, value in provenance.items():
        low = _COUNTS.get(name)
        if low is not None and not (name in _OPTIONAL and value is None):
            _require(_is_whole(value) and low <= value < 2**31, name, value)
    temperature = provenance.get("temperature", 1.0)
    real = isinstance(temperature, float | int) and not isinstance(temperature, bool)
    _require(real and 0 < temperature < math.inf, "temperature", temperature)
    for name, values in (("positions", POSITIONS), ("tail", get_args(Tail))):
        if name in provenance:
            _require(provenance[name] in values, name, provenance[name])
    whole = isinstance(borders, list) and len(borders) > 1 and all(map(_is_whole, borders))
    rising = whole and borders[0] == 0 and all(a < b for a, b in pairwise(borders))
    _require(rising, "borders", borders)
    known = error is None or (
        isinstance(error, dict)
        and all(isinstance(one, dict) for one in error.values())
        and all(isinstance(x, float | int) for one in error.values() for x in one.values())
    )
    _require(known, "error", error)
    named = isinstance(manifest.teacher, dict)
    texts = named and all(isinstance(x, str | None) for x in manifest.teacher.values())
    _require(texts, "teacher", manifest.teacher)
    return manifest


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
        header.pop("__metadata__", None)
        arrays = {}
        for name, entry in header.items():
            (begin, end), shape = entry["data_offsets"], entry["shape"]
            _require(all(_is_whole(x) and x >= 0 for x in (begin, end, *shape)), name, entry)
            _require(start + end <= len(content), name, entry)
            flat = content[start + begin : start + end].view(DTYPES[entry["dtype"]])
            arrays[name] = flat.reshape(shape)
        return arrays
    except PermissionError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): allow it.") from error
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        raise UserError(
            f"{path} of the teacher cache is missing or damaged ({error}): delete it if it is "
            "there, and run `cache-teacher` again, which writes what is missing."
        ) from error


def misfit(arrays: Arrays, provenance: Mapping[str, Any], items: int) -> str:
    """What an opened shard holds and the provenance does not say; empty where they agree.

    Args:
        arrays: of the shard.
        provenance: of its cache.
        items: how many it should have.
    """
    k, width = provenance["k"], provenance["hidden_size"]
    high = _high_bits(provenance["vocab_size"]) * -(-k // 8)
    rows = int(arrays["counts"].sum()) if "counts" in arrays else 0
    wanted: dict[str, tuple[type, tuple[int, ...]]] = {
        "counts": (np.int32, (items,)),
        "checks": (np.uint32, (items,)),
        "ids": (np.uint16, (rows, k)),
        "log_probabilities": (np.float16, (rows, k)),
        "log_mass": (np.float16, (rows,)),
        **({"sums": (np.uint32, (items,))} if "sums" in arrays else {}),
        **({"high_ids": (np.uint8, (rows, high))} if high else {}),
        **({"states": (np.float16, (rows, width))} if width is not None else {}),
    }
    for name in sorted({*arrays, *wanted}):
        found = arrays.get(name)
        if found is None:
            return f"it has no {name}"
        if name not in wanted:
            return f"it has {name}, which the cache has not"
        dtype, shape = wanted[name]
        if found.dtype != dtype or found.shape != shape:
            return f"{name} is {found.dtype} {found.shape}, and not {np.dtype(dtype)} {shape}"
    return "" if bool((arrays["counts"] >= 0).all()) else "counts are negative"


def sums_of(arrays: Arrays, counts: NDArray[np.int64]) -> NDArray[np.uint32]:
    """CRC-32 (I,) of what is kept of every item.

    Args:
        arrays: kept positions (P, ...) of items, one after the other.
        counts: (I,) positions of each.
    """
    kept = [np.ascontiguousarray(arrays[name]) for name in sorted(arrays) if name not in PER_ITEM]
    sums, ends = np.zeros(len(counts), np.uint32), np.cumsum(counts).tolist()
    for number, (start, end) in enumerate(pairwise([0, *ends])):
        value = 0
        for array in kept:
            value = crc32(array[start:end].data, value)
        sums[number] = value
    return sums


def ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1, ..., start + length - 1 of every pair, one after the other."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(lengths.sum())


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require(sound: bool, name: str, value: Any) -> None:
    if not sound:
        raise ValueError(f"{name} is {_short(value)}")


def _high_bits(vocab_size: int) -> int:
    return max((vocab_size - 1).bit_length() - LOW_BITS, 0)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
