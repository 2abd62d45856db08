"""Cells on the disk: what is read is what was written, of that identity, or nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lit_distill.tools.evaluating.cells import records
from lit_distill.tools.evaluating.cells.cell import CellResult
from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions
from lit_distill.tools.evaluating.cells.records import Place

FOUND = Predictions(
    Kind.CLASSES,
    np.array([2**64 - 1, 5, 5], dtype=np.uint64),
    np.array([1, 0, 0]),
    ["en", "hi"],
    np.array([0.0, 1.0, 1.0]),
    np.log(np.array([[0.25, 0.75], [0.5, 0.5], [1e-300, 1.0]])),
    ["no", "ja"],
)
RESULT = CellResult("a student", "topic", 3, FOUND, 12.25)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, "a student", "topic", 3)


def test_what_was_written_is_read(place: Place) -> None:
    place.working.mkdir(parents=True)
    (place.working / "last.ckpt").write_text("x")
    place.write(RESULT, "abc")
    read = place.read("abc")
    assert read is not None
    assert read.predictions is not None
    assert replace(read, predictions=None) == replace(RESULT, predictions=None)
    for name, value in vars(FOUND).items():
        assert np.array_equal(getattr(read.predictions, name), value), name
    assert read.predictions.examples.dtype == np.uint64
    assert place.read() is not None
    assert place.read("abd") is None
    assert sorted(path.name for path in place.folder.iterdir()) == ["3.json", "3.npz"]


def test_what_broke_is_read_as_broken(place: Place) -> None:
    place.write(replace(RESULT, predictions=None, error="no luck"), "abc", "line 1\nline 2")
    read = place.read("abc")
    assert read is not None
    assert (read.predictions, read.error) == (None, "no luck")


@pytest.mark.parametrize("name", ["3.json", "3.npz"])
def test_damaged_files_are_no_cell(place: Place, name: str) -> None:
    place.write(RESULT, "abc")
    whole = (place.folder / name).read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"{}"):
        (place.folder / name).write_bytes(content)
        assert place.read("abc") is None


def test_new_predictions_never_stand_under_an_old_identity(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the predictions are there and before it is said whose they are."""
    place.write(RESULT, "old")
    monkeypatch.setattr(records.strict_json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        place.write(replace(RESULT, predictions=FOUND.take(np.array([0]))), "new")
    assert place.read("old") is None
    assert place.read("new") is None
