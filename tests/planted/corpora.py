"""Bugs in what is fed from texts: ends of texts, words, and what a method reads."""

from __future__ import annotations

from planted.mutant import Mutant

CORPORA = (
    Mutant(
        "decoders never see a text end",
        "data_modules/framing.py",
        "if eos is not None and eos not in end:",
        "if False:",
        "tests/data_modules/test_framing.py -k once",
    ),
    Mutant(
        "every window of a text ends it",
        "data_modules/framing.py",
        "return cls(before, (), end)",
        "return cls(before, end, ())",
        "tests/data_modules/test_framing.py -k once",
    ),
    Mutant(
        "an end alone in a window is no target",
        "data_modules/framing.py",
        "moved = np.maximum(1 - left, 0)",
        "moved = np.maximum(0 - left, 0)",
        "tests/data_modules/test_framing.py",
    ),
    Mutant(
        "texts with ends are the cached texts without",
        "data_modules/tokenising.py",
        "        digest.update(repr(frame).encode())\n",
        "        pass\n",
        "tests/data_modules/test_framing.py -k before",
    ),
)
