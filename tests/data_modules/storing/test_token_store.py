"""Stores: what goes in comes out, from any number of shards."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from data_modules.storing.token_store import StoreWriter, TokenStore
from lit_distill.errors import UserError

DRAW = np.random.default_rng(0)
LANGUAGE = np.sort(DRAW.integers(0, 3, 40))
WINDOWS = [DRAW.integers(0, 50, n).astype(np.int32) for n in DRAW.integers(1, 12, 40)]


def write(folder: Path) -> TokenStore:
    writer = StoreWriter(folder, ["aa", "bb-ää", "cc"], 60)
    for start in range(0, 40, 3):  # some parts hold two languages' windows: one call for each
        for language in range(3):
            own = [w for w in range(start, min(start + 3, 40)) if LANGUAGE[w] == language]
            lengths = np.array([len(WINDOWS[w]) for w in own], dtype=np.int64)
            flat = [WINDOWS[w] for w in own] or [np.empty(0, np.int32)]
            writer.add(np.concatenate(flat), lengths, language)
    writer.close()
    return TokenStore(folder)


@pytest.mark.parametrize(("shard_tokens", "shards"), [(1 << 24, 1), (60, 4), (1, 14)])
def test_gather(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_tokens: int, shards: int
) -> None:
    monkeypatch.setattr("data_modules.storing.token_store.SHARD_TOKENS", shard_tokens)
    store = write(tmp_path / "store")
    assert len(list((tmp_path / "store").glob("shard-*"))) >= shards
    assert store.languages == ["aa", "bb-ää", "cc"]
    assert store.lengths.tolist() == [len(window) for window in WINDOWS]
    assert (store.lengths.dtype, store.language.dtype) == (np.int32, np.int16)
    assert store.language.tolist() == LANGUAGE.tolist()
    assert store.windows_per_language() == np.bincount(LANGUAGE).tolist()
    for order in (np.arange(40), DRAW.permutation(40), np.array([7, 7, 39, 0]), np.array([5])):
        found = store.gather(order)
        assert found.dtype == np.int32
        assert found.tolist() == np.concatenate([WINDOWS[w] for w in order]).tolist()
    counts = np.zeros((3, 60), dtype=np.int64)
    for window, language in zip(WINDOWS, LANGUAGE, strict=True):
        np.add.at(counts[language], window, 1)
    assert (store.token_counts == counts).all()


def test_an_empty_store(tmp_path: Path) -> None:
    StoreWriter(tmp_path / "store", ["aa", "bb"], 5).close()
    store = TokenStore(tmp_path / "store")
    assert (len(store.lengths), len(store.language)) == (0, 0)
    assert store.windows_per_language() == [0, 0]
    assert store.token_counts.tolist() == [[0] * 5] * 2


def _gathered(store: TokenStore) -> list[int]:
    return store.gather(np.array([3, 1])).tolist()


def test_another_process_maps_the_files_itself(tmp_path: Path) -> None:
    store = write(tmp_path / "store")
    assert store.__reduce__() == (TokenStore, (tmp_path / "store",))
    with multiprocessing.get_context("fork").Pool(1) as pool:  # arguments are pickled all the same
        assert pool.apply(_gathered, (store,)) == _gathered(store)


def test_damage_is_named(tmp_path: Path) -> None:
    write(tmp_path / "store")
    (tmp_path / "store" / "counts.npy").write_bytes(b"")
    with pytest.raises(
        UserError, match=rf"in {tmp_path} is damaged \(.*\): delete it and start again"
    ):
        TokenStore(tmp_path / "store")
