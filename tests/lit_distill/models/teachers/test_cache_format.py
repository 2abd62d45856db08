"""Packed ids come back, whatever the vocabulary, and take the room that was promised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from lit_distill.errors import UserError
from lit_distill.models.teachers.cache_format import (
    Manifest,
    misfit,
    open_shard,
    pack_ids,
    sums_of,
    unpack_ids,
)

BYTES = {30_522: 258, 65_536: 258, 65_537: 266, 119_547: 266, 262_144: 274, 262_208: 282}
"""Of ids and log-probabilities of one position at k = 64, by vocabulary."""


@pytest.mark.parametrize("vocab_size", BYTES)
@pytest.mark.parametrize("k", [1, 7, 64])
def test_ids_come_back(vocab_size: int, k: int) -> None:
    draw = np.random.default_rng(0)
    ids = draw.integers(vocab_size, size=(50, k))
    ids[0, 0], ids[1, 0] = 0, vocab_size - 1
    assert (unpack_ids(pack_ids(ids, vocab_size), vocab_size) == ids).all()


@pytest.mark.parametrize("vocab_size", BYTES)
def test_a_position_takes_at_most_300_bytes(vocab_size: int) -> None:
    packed = pack_ids(np.zeros((10, 64), np.int64), vocab_size)
    log_probabilities = np.zeros((10, 65), np.float16)  # and that of all 64 together
    size = sum(array.nbytes for array in packed.values()) + log_probabilities.nbytes
    assert size == 10 * BYTES[vocab_size] <= 10 * 300


def test_a_shard_is_mapped_as_it_was_saved(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    arrays = {
        "counts": np.array([3, 0, 4], np.int32),
        "checks": np.array([1, 2**32 - 1, 3], np.uint32),
        "high_ids": draw.integers(256, size=(7, 3)).astype(np.uint8),
        "ids": draw.integers(2**16, size=(7, 5)).astype(np.uint16),
        "log_probabilities": draw.normal(size=(7, 5)).astype(np.float16),
        "states": np.empty((0, 4), np.float16),
    }
    save_file(arrays, tmp_path / "shard")
    opened = open_shard(tmp_path / "shard")
    assert opened.keys() == arrays.keys()
    for name, array in arrays.items():
        assert opened[name].dtype == array.dtype
        assert (opened[name] == array).all()


@pytest.mark.parametrize("kept", [0, 4, 60, -1])
def test_a_shard_that_was_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "shard"
    save_file({"ids": np.zeros((9, 3), np.uint16)}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="missing or damaged"):
        open_shard(path)


def test_the_manifest_names_what_differs_with_both_values(tmp_path: Path) -> None:
    made = Manifest({"k": 64, "seed": 0, "temperature": 2.0}, [0, 3], {"name": "x"}, {})
    (tmp_path / "cache.json").write_text(made.text)
    read = Manifest.read(tmp_path)
    assert read == made
    assert read.fingerprint == made.fingerprint
    assert read.differences({"seed": 0, "temperature": 2}) == []
    assert read.differences({"seed": 1, "tail": "bucket"}) == [
        "seed: 0 in the cache, 1 now",
        "tail: None in the cache, 'bucket' now",
    ]
    assert Manifest({"k": 8}, [0, 3], {}).fingerprint != Manifest({"k": 9}, [0, 3], {}).fingerprint


@pytest.mark.parametrize("text", [None, "", "{}", '{"format": 99}', '{"format": 1, "k": 2}'])
def test_no_manifest_and_a_broken_one(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "cache.json").write_text(text)
    with pytest.raises(UserError, match="no teacher cache" if text is None else "cannot be read"):
        Manifest.read(tmp_path)


SOUND = {
    "format": 1, "provenance": {"k": 4, "vocab_size": 100, "hidden_size": None, "windows": 3},
    "borders": [0, 3], "teacher": {"name": "x", "revision": None}, "error": {"en": {"kl": 0.1}},
}  # fmt: skip
DEEP = "[" * 100_000
ILL_TYPED: dict[str, Any] = {
    **{f"provenance {value!r}": {"provenance": value} for value in (None, 7, "x", [], [["k", 4]])},
    **{
        f"{name} {value!r}": {"provenance": {**SOUND["provenance"], name: value}}  # type: ignore[dict-item]
        for name in ("k", "vocab_size", "windows")
        for value in (None, 0, -1, 1.5, "4", True, [4], 2**40)
    },
    **{
        f"{name} {value!r}": {"provenance": {**SOUND["provenance"], name: value}}  # type: ignore[dict-item]
        for name, values in {
            "hidden_size": (0, "8", 1.5),
            "mask_variants": (0, "2", -1),
            "temperature": (0, -1.0, "2", None, True, float("nan"), float("inf")),
            "positions": ("all", None, 3, []),
            "tail": ("none", None, {}),
        }.items()
        for value in values
    },
    **{
        f"borders {value!r}": {"borders": value}
        for value in (
            *(None, 3, "03", {}, [], [0], [0, "3"], [0, 2.5], [1, 3], [0, 3, 3], [0, 3, 2]),
            *([0, -3], [False, True], [0, [3]]),
        )
    },
    **{f"teacher {value!r}": {"teacher": value} for value in (None, "x", [], {"name": 3})},
    **{
        f"error {value!r}": {"error": value} for value in (3, [], "x", {"en": 1}, {"en": {"a": []}})
    },
    "another item": {"sums": []},
}


@pytest.mark.parametrize("change", ILL_TYPED)
def test_a_manifest_of_other_types_is_one_line(tmp_path: Path, change: str) -> None:
    (tmp_path / "cache.json").write_text(json.dumps(SOUND))
    Manifest.read(tmp_path)
    (tmp_path / "cache.json").write_text(json.dumps({**SOUND, **ILL_TYPED[change]}))
    with pytest.raises(UserError, match=r"cannot be read \(.+\): write the cache anew in another"):
        Manifest.read(tmp_path)


def test_files_that_may_not_be_read_are_not_to_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, *_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", denied)
    monkeypatch.setattr(np, "memmap", denied)
    for read in (lambda: Manifest.read(tmp_path), lambda: open_shard(tmp_path / "shard")):
        with pytest.raises(UserError, match=r"cannot be read \(Permission denied\): allow it\.$"):
            read()


@pytest.mark.parametrize("text", ["7", "null", '"x"', "[]", DEEP, '{"format": ' * 50_000, "\xff"])
def test_a_manifest_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "cache.json").write_text(text, "latin-1")
    with pytest.raises(UserError, match="cannot be read"):
        Manifest.read(tmp_path)


GOOD = {"dtype": "U16", "shape": [2, 3], "data_offsets": [0, 12]}


@pytest.mark.parametrize(
    "header",
    [
        *(
            "7",
            "null",
            "[]",
            '"x"',
            "{",
            DEEP,
            '{"ids": 7}',
            '{"ids": null}',
            '{"ids": []}',
            "\xff",
        ),
        *(
            json.dumps({"ids": {**GOOD, **change}})
            for change in (
                *({"dtype": "X"}, {"dtype": 3}, {"dtype": None}, {"dtype": []}, {"shape": 6}),
                *({"shape": [2, -1]}, {"shape": [2, 2]}, {"shape": ["2", 3]}, {"shape": None}),
                *({"shape": [True, 6]}, {"shape": [[2], 3]}, {"data_offsets": [0]}),
                *({"data_offsets": [-12, 0]}, {"data_offsets": [0, 99]}, {"data_offsets": "ab"}),
                *({"data_offsets": [1.0, 13]}, {"data_offsets": None}, {"data_offsets": [12, 0]}),
                *({"data_offsets": [0, 10**30]}, {"shape": [10**30, 0]}),
            )
        ),
    ],
)
def test_headers_of_all_kinds_are_one_line(tmp_path: Path, header: str) -> None:
    def write(text: str) -> None:
        raw = text.encode("latin-1")
        (tmp_path / "shard").write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(12))

    write(json.dumps({"__metadata__": {"a": "b"}, "ids": GOOD}))
    assert open_shard(tmp_path / "shard")["ids"].shape == (2, 3)
    write(header)
    with pytest.raises(UserError, match="missing or damaged"):
        open_shard(tmp_path / "shard")


def test_a_shard_has_what_its_cache_says() -> None:
    said = {"k": 3, "hidden_size": None, "vocab_size": 70_000}
    arrays = {
        "counts": np.array([1, 1], np.int32), "checks": np.zeros(2, np.uint32),
        "ids": np.zeros((2, 3), np.uint16), "high_ids": np.zeros((2, 1), np.uint8),
        "log_probabilities": np.zeros((2, 3), np.float16), "log_mass": np.zeros(2, np.float16),
    }  # fmt: skip
    assert misfit(arrays, said, 2) == ""
    assert "ids is uint16 (2, 3), and not uint16 (2, 4)" in misfit(arrays, {**said, "k": 4}, 2)
    assert "checks is uint32 (2,), and not uint32 (3,)" in misfit(arrays, said, 3)
    assert "which the cache has not" in misfit(arrays, {**said, "vocab_size": 60_000}, 2)
    assert misfit(arrays, {**said, "hidden_size": 8}, 2) == "it has no states"
    for name, array in arrays.items():
        assert name in misfit({key: arrays[key] for key in arrays if key != name}, said, 2)
        assert name in misfit({**arrays, name: array.astype(np.float64)}, said, 2)
        assert misfit({**arrays, name: array[:1]}, said, 2)
    assert misfit({**arrays, "counts": np.array([3, -1], np.int32)}, said, 2) == (
        "counts are negative"
    )


def test_sums_are_of_every_bit_that_is_kept() -> None:
    draw = np.random.default_rng(0)
    counts = np.array([3, 0, 4])
    arrays = {
        "counts": counts, "ids": draw.integers(2**16, size=(7, 5)).astype(np.uint16),
        "log_mass": draw.normal(size=7).astype(np.float16),
    }  # fmt: skip
    sums = sums_of(arrays, counts)
    for name in ("ids", "log_mass"):
        for row in range(7):
            changed = {**arrays, name: arrays[name].copy()}
            changed[name].reshape(7, -1)[row, -1] += 1
            assert np.flatnonzero(sums_of(changed, counts) != sums).tolist() == [
                0 if row < 3 else 2
            ]
