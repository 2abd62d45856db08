"""Numbers of the gate against slow ones, on rows that are made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lit_distill.tools.delivering.gate.parity import Parity, parities


class Given:
    """Gives rows in order, whatever is read."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.left = [np.asarray(one, np.float32) for one in rows]

    def rows(self, examples: Sequence[Any]) -> list[Any]:
        taken, self.left = self.left[: len(examples)], self.left[len(examples) :]
        return taken


def parity(right: Sequence[Any], found: Sequence[Any], kind: str = "logits") -> Parity:
    what: Any = SimpleNamespace(
        decides=kind == "logits", embedding="mean" if kind == "vectors" else None
    )
    files: Any = {"it": Given(found)}
    return parities(what, Given(right), files, [{}] * len(right), together=2)["it"]


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[Any]:
    draw = np.random.default_rng(seed)
    return [draw.normal(size=shape) * 3 for shape in shapes]


def test_logits_against_a_slow_oracle() -> None:
    shapes = [(5, 7), (1, 7), (40, 7)]
    right, found = drawn(0, *shapes), drawn(1, *shapes)
    result = parity(right, found)
    kl, agreed, rows, worst = 0.0, 0, 0, 0.0
    for one, other in zip(right, found, strict=True):
        for p, q in zip(np.float32(one), np.float32(other), strict=True):
            logs = [torch.from_numpy(np.float64(x)).log_softmax(0) for x in (p, q)]
            kl += float(sum(logs[0].exp() * (logs[0] - logs[1])))
            agreed += int(p.argmax()) == int(q.argmax())
            worst = max(worst, max(abs(float(a) - float(b)) for a, b in zip(p, q, strict=True)))
            rows += 1
    assert result.texts == 3
    assert result.difference == pytest.approx(worst)
    assert result.agreement == agreed / rows
    assert result.kl == pytest.approx(kl / rows, rel=1e-12)
    assert result.similarity is None


def test_what_the_model_itself_cannot_tell_apart_is_one_decision() -> None:
    right = [[[1.0, 1.0 + 5e-5, 0.0], [1.0, 1.1, 0.0]]]
    found = [[[1.0 + 5e-5, 1.0, 0.0], [1.1, 1.0, 0.0]]]
    assert parity(right, found).agreement == 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_infinitely_far(bad: float) -> None:
    result = parity([[[1.0, 2.0]], [[1.0, 2.0]]], [[[1.0, 2.0]], [[1.0, bad]]])
    assert result.difference == np.inf
    assert result.kl == np.inf
    assert result.agreement == 0.5


def test_outputs_of_another_shape_are_infinitely_far() -> None:
    assert parity([[[1.0, 2.0]]], [[[1.0, 2.0, 3.0]]]).difference == np.inf


def test_vectors_have_a_cosine_and_neighbours() -> None:
    right = [[[1, 0]], [[0.9, 0.1]], [[0, 1]], [[0.1, 0.9]]]
    found = [[[2, 0]], [[1.8, 0.2]], [[0, 2]], [[-1, 0]]]
    result = parity(right, found, "vectors")
    cosines = [1, 1, 1, -0.1 / np.hypot(0.1, 0.9)]
    assert result.similarity == pytest.approx(np.mean(cosines), abs=1e-6)
    assert result.agreement == 0.75  # the third has lost the last
    assert result.kl is None


def test_numbers_have_a_correlation() -> None:
    right, found = [[[1]], [[2]], [[4]]], [[[1.1]], [[2.3]], [[3.5]]]
    result = parity(right, found, "numbers")
    expected = np.corrcoef([1, 2, 4], [1.1, 2.3, 3.5])[0, 1]
    assert result.similarity == pytest.approx(expected, abs=1e-6)
    assert result.agreement is None
    assert parity(right, [[[1.0]]] * 3, "numbers").similarity == 0
