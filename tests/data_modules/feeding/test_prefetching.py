"""What travels from a loader's worker: numbers of all kinds, as they were made."""

from __future__ import annotations

from typing import Any

import torch

from data_modules.feeding.prefetching import _pack, _unpack


def test_numbers_keep_kind_shape_and_order() -> None:
    """A float beside token ids (a value of a regression, a score) made floats of them all."""
    batch: dict[str, Any] = {
        "input_ids": torch.tensor([[2**24 + 1, 7], [3, 4]]),  # which no float32 holds
        "values": torch.tensor([0.1, -2.5]),
        "rows": torch.empty(0, dtype=torch.int64),
        "scores": torch.tensor([[1.0], [torch.inf]]),
        "language": torch.tensor([1, 0]),
        "counts": {"tokens": 4},
    }
    packed = _pack(batch)
    assert len(packed[0]) == 2  # a shared memory file for each kind
    found = _unpack(packed)
    assert [*found] == [*(name for name in batch if name != "counts"), "counts"]
    assert found["counts"] == batch["counts"]
    for name, value in batch.items():
        if name != "counts":
            assert found[name].dtype == value.dtype  # type: ignore[literal-required]
            assert torch.equal(found[name], value)  # type: ignore[literal-required]
