"""Every bound of the gate refuses what lies beyond it, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lit_distill.errors import UserError
from lit_distill.tools.delivering.deliverables.choices import Gate
from lit_distill.tools.delivering.gate.examples import EDGES
from lit_distill.tools.delivering.gate.parity import Parity
from lit_distill.tools.delivering.gate.scores import Score
from lit_distill.tools.delivering.gate.verdict import faults

GOOD = Parity(9, 1e-6, 1.0, 1e-9, None)
VECTORS = Parity(9, 0.1, 0.5, None, 0.99)


def found(file: str, row: Parity = GOOD, **changes: Any) -> dict[str, dict[str, Parity]]:
    return {file: {"en": row, "de": replace(row, **changes)}}


@pytest.mark.parametrize(
    ("file", "row", "changes", "fault"),
    [
        ("float32", GOOD, {"difference": 2e-3}, "float32 de: largest difference 0.002"),
        ("float32", GOOD, {"difference": float("nan")}, "float32 de: largest difference nan"),
        ("float32", GOOD, {"agreement": 0.99}, "float32 de: agreement 0.9900, at least 0.999"),
        ("int8", GOOD, {"agreement": 0.84}, "int8 de: agreement 0.8400, at least 0.85"),
        ("int8", GOOD, {"kl": 0.2}, "int8 de: KL 0.2, at most 0.1"),
        ("int8", GOOD, {"kl": float("nan")}, "int8 de: KL nan"),
        ("int8", GOOD, {"difference": float("inf")}, "int8 de: outputs that are no numbers"),
        ("int8", VECTORS, {"similarity": 0.97}, "int8 de: similarity 0.9700, at least 0.98"),
        ("int8", VECTORS, {"similarity": float("nan")}, "int8 de: similarity nan"),
    ],
)
def test_one_language_is_enough(file: str, row: Parity, changes: Any, fault: str) -> None:
    assert not faults(found(file, row), {}, Gate())
    told = faults(found(file, row, **changes), {}, Gate())
    assert any(one.startswith(fault) for one in told), told


def test_int8_of_all_languages_together_has_bounds_of_its_own() -> None:
    row = replace(GOOD, agreement=0.88, kl=0.08)
    told = faults({"int8": {"en": row, "de": row}}, {}, Gate())
    assert told == [
        "int8, mean: agreement 0.8800, at least 0.9",
        "int8, mean: KL 0.08, at most 0.05",
    ]
    assert not faults({"int8": {"en": row, "de": row}}, {}, Gate(int8_agreement=0, int8_kl=1))


def test_extreme_lengths_are_compared_in_float32() -> None:
    few = Parity(3, 1e-6, 0.5, 1.0, None)
    assert faults({"float32": {EDGES: few}}, {}, Gate())
    assert not faults({"int8": {"en": GOOD, EDGES: few}}, {}, Gate())
    wild = replace(few, difference=float("inf"))
    assert faults({"int8": {"en": GOOD, EDGES: wild}}, {}, Gate())


def test_lost_accuracy_is_refused_and_won_accuracy_is_not() -> None:
    assert not faults({}, {"en": Score(9, 0.8, {"float32": 0.8, "int8": 0.9})}, Gate())
    (told,) = faults({}, {"en": Score(9, 0.8, {"float32": 0.8, "int8": 0.78})}, Gate())
    assert told == "int8 en: lost accuracy 0.02, at most 0.01"
    assert not faults({}, {"en": Score(9, 0.8, {"int8": 0.79})}, Gate())


def test_bounds_are_checked() -> None:
    with pytest.raises(UserError, match="agreement"):
        Gate(agreement=1.5)
    with pytest.raises(UserError, match="texts"):
        Gate(texts=0)
