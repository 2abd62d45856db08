"""Hashes of texts beside a model: which texts are one, what is kept of many, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lit_distill.errors import UserError
from lit_distill.files.seen_texts import ABOUT, HASHES, Hashes, SeenTexts, hashes_of

MANY = hashes_of(f"text {number}" for number in range(3_000))


def test_one_text_in_many_forms_has_one_hash() -> None:
    for forms in (
        ("Straße am Fluss", "STRASSE  am\tFluss\n", "straßeamfluss"),
        ("ﬁne ２４", "fine 24"),  # a ligature, digits of full width
        ("é", "e\u0301"),
        ("मैं घर जाती हूँ।", "मैं घर  जाती हूँ ।"),
        ("東京 に 行く", "東京に行く"),
    ):
        assert len({*hashes_of(forms).tolist()}) == 1, forms
    assert len({*hashes_of(["का", "कि", "क", "", "a", "a."]).tolist()}) == 6
    assert len({*MANY.tolist()}) == 3_000
    assert hashes_of([]).shape == (0,)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert SeenTexts.of(tmp_path) is None
    seen = SeenTexts.among(np.concatenate([MANY, MANY[:9]]))
    seen.write(tmp_path)
    again = SeenTexts.of(tmp_path)
    assert again is not None
    assert again.hashes.tolist() == sorted(MANY.tolist())
    assert json.loads((tmp_path / ABOUT).read_text()) == {
        "format": 1, "hashes": 3_000, "one_in": 1,
    }  # fmt: skip
    others = hashes_of(["text 7", "TEXT 8", "text 8", "text 3000", "another"])
    assert again.overlap(others) == 2


def test_above_the_limit_a_share_is_kept_that_both_sides_agree_on() -> None:
    seen = SeenTexts.among(MANY, limit=500)
    assert 200 < len(seen.hashes) <= 500
    assert seen.one_in == 8  # the smallest power of two with room: 3,000 / 8 = 375
    wanted = [value for value in MANY.tolist() if value % 8 == 0]
    assert seen.hashes.tolist() == sorted(wanted)
    assert seen.overlap(MANY) == len(wanted)
    assert seen.overlap(MANY[:1_000]) == sum(value % 8 == 0 for value in MANY[:1_000].tolist())
    assert seen.overlap(hashes_of(f"other {number}" for number in range(3_000))) == 0


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_shares_the_smaller_one_is_known_of_both(turned: bool) -> None:
    first, second = SeenTexts.among(MANY[:2_000], limit=600), SeenTexts.among(MANY[1_000:])
    if turned:
        first, second = second, first
    both = first.joined(second)
    assert both.one_in == 4
    assert both.hashes.tolist() == sorted(value for value in MANY.tolist() if value % 4 == 0)
    assert len(first.joined(second, limit=100).hashes) <= 100


def broken(hashes: Hashes, about: object) -> None:
    folder = Path(".")
    np.save(folder / HASHES, hashes, allow_pickle=False)
    (folder / ABOUT).write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("hashes", "about"),
    [
        (np.array([1, 2], np.int64), {"format": 1, "hashes": 2, "one_in": 1}),
        (np.array([2, 1], np.uint64), {"format": 1, "hashes": 2, "one_in": 1}),
        (np.array([1, 1], np.uint64), {"format": 1, "hashes": 2, "one_in": 1}),
        (np.array([1, 2], np.uint64), {"format": 1, "hashes": 3, "one_in": 1}),
        (np.array([1, 2], np.uint64), {"format": 1, "hashes": 2, "one_in": 2}),
        (np.array([3, 6], np.uint64), {"format": 1, "hashes": 2, "one_in": 3}),
        (np.array([1, 2], np.uint64), {"format": 1, "hashes": 2, "one_in": 0}),
        (np.array([1, 2], np.uint64), {"format": 2, "hashes": 2, "one_in": 1}),
        (np.array([[1, 2]], np.uint64), {"format": 1, "hashes": 1, "one_in": 1}),
        (np.array([1, 2], np.uint64), ["format"]),
        (np.array([1, 2], np.uint64), {}),
    ],
)
def test_damage_is_told(
    hashes: Hashes, about: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    broken(hashes, about)
    with pytest.raises(UserError, match="do not say which texts were read"):
        SeenTexts.of(tmp_path)


@pytest.mark.parametrize("name", [HASHES, ABOUT])
def test_half_of_it_and_rubbish_are_damage(name: str, tmp_path: Path) -> None:
    SeenTexts.among(MANY).write(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="damaged"):
        SeenTexts.of(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match="damaged"):
        SeenTexts.of(tmp_path)
