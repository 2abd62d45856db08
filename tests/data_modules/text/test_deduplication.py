"""A set in sorted runs behaves like a set."""

from __future__ import annotations

import numpy as np

from data_modules.text.deduplication import SeenTexts, marks_of


def test_like_a_set() -> None:
    draw = np.random.default_rng(0)
    seen, expected = SeenTexts(), set()
    for size in (1, 3, 200, 7, 500, 1, 90):
        marks = draw.integers(0, 1500, size).astype(np.uint64)
        among = [mark in expected for mark in marks.tolist()]
        assert seen.among(marks).tolist() == among
        first = [m not in expected and m not in marks[:i] for i, m in enumerate(marks.tolist())]
        assert seen.add(marks).tolist() == first
        expected.update(marks.tolist())
    assert sum(map(len, seen._runs)) == len(expected)
    assert len(seen._runs) <= 1 + np.log2(len(expected))


def test_marks_depend_on_the_text_alone() -> None:
    marks = marks_of([b"a", b"b", b"a", "ä".encode()])
    assert marks[0] == marks[2]
    assert len(set(marks.tolist())) == 3
    assert marks_of([b"a"])[0] == marks[0]
    assert len(marks_of([])) == 0
