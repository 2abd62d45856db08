"""Which answers of a teacher are kept."""

from __future__ import annotations

from lit_distill.tools.labelling.label_selection import word_error_rate


def test_word_error_rate() -> None:
    wanted = ["the", "old", "river", "runs"]
    for words, rate in (
        ("the old river runs", 0), ("the river runs", 0.25), ("the old old river runs", 0.25),
        ("a new river", 0.75), ("", 1), ("a b c d e f", 1.5),
    ):  # fmt: skip
        assert word_error_rate(words.split(), wanted) == rate
