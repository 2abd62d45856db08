"""Packed ids come back, whatever the vocabulary, and take the room that was promised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lit_distill.errors import UserError
from lit_distill.models.cache_format import Manifest, open_shard, pack_ids, unpack_ids

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
