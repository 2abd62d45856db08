"""Loyalty and calibration against scipy and torchmetrics, and where they have a closed form."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torchmetrics.functional.classification import multiclass_calibration_error

from lit_distill.measures.logits import Tile
from lit_distill.measures.loyalty import Loyalty, distances

Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def drawn(seed: int, rows: int = 12, labels: int = 4) -> Rows:
    """Logits of student and teacher, some of them equal or sure, and targets."""
    draw = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(rows, labels, generator=draw).double() * 3 for _ in range(2))
    student[0], teacher[1, 2], student[2] = teacher[0], 800.0, 0.0  # ties
    return student, teacher, torch.randint(labels, (rows,), generator=draw)


def scores(student: torch.Tensor, teacher: torch.Tensor | None, targets: torch.Tensor) -> dict:
    kept = Loyalty(1, teacher is not None)
    nothing = torch.zeros(len(targets), dtype=torch.int64)
    for part in (slice(0, 5), slice(5, None)):
        taught = None if teacher is None else teacher[part]
        kept.update(Tile(student[part], taught, targets[part]), nothing[part])
    return kept.scores(["xx"])["xx"]


def test_a_thousand_cases_are_those_of_the_libraries() -> None:
    for seed in range(1000):
        student, teacher, targets = drawn(seed)
        found = scores(student, teacher, targets)
        q, p = student.softmax(-1), teacher.softmax(-1)
        apart = torch.from_numpy(jensenshannon(p.numpy(), q.numpy(), base=2, axis=1)).nan_to_num()
        assert distances(q, p).tolist() == pytest.approx(apart.tolist(), abs=1e-7)
        assert found["probability_loyalty"] == pytest.approx(1 - apart.mean().item(), abs=1e-8)
        for name, shares in (("ece", q), ("teacher_ece", p)):
            expected = multiclass_calibration_error(shares, targets, 4, n_bins=15)
            assert found[name] == pytest.approx(expected.item(), abs=1e-6)  # float32


def test_they_are_what_fidelity_says_of_arrays() -> None:
    fidelity = pytest.importorskip("lit_distill.measures.fidelity")
    for seed in range(20):
        student, teacher, targets = drawn(seed)
        found = scores(student, teacher, targets)
        logs = [logits.log_softmax(-1).numpy() for logits in (student, teacher)]
        chosen = [logits.argmax(-1).numpy() for logits in (student, teacher)]
        errors = fidelity.errors(*chosen, targets.numpy())
        loyal = fidelity.probability_loyalty(*logs)
        assert found["probability_loyalty"] == pytest.approx(loyal, abs=1e-12)
        assert (found["inherited"], found["invented"]) == (errors.inherited, errors.invented)
        right = chosen[0] == targets.numpy()
        sure = student.softmax(-1).amax(-1).numpy()
        assert found["ece"] == pytest.approx(fidelity.calibration_error(sure, right), abs=1e-7)


def test_a_student_that_is_its_teacher_is_loyal() -> None:
    student, _, targets = drawn(0)
    found = scores(student, student, targets)
    assert found["probability_loyalty"] == 1
    assert (found["inherited"], found["invented"]) == (1, 0)
    assert found["ece"] == found["teacher_ece"]


def test_permuted_classes_have_a_closed_form() -> None:
    """Two sure models that never agree have nothing in common; of less sure ones, what overlaps."""
    sure = torch.eye(3).double() * 900
    turned = sure[:, [1, 2, 0]]
    assert scores(turned, sure, torch.arange(3))["probability_loyalty"] == pytest.approx(0)
    share = 0.7
    log_p = torch.tensor([[share, 1 - share]], dtype=torch.float64).log()
    found = scores(
        log_p.flip(1).repeat(6, 1), log_p.repeat(6, 1), torch.zeros(6, dtype=torch.int64)
    )
    bits = 1 + share * math.log2(share) + (1 - share) * math.log2(1 - share)
    assert found["probability_loyalty"] == pytest.approx(1 - math.sqrt(bits), rel=1e-12)
    assert (found["inherited"], found["invented"]) == (None, 1)


def test_without_a_teacher_there_is_no_loyalty() -> None:
    student, _, targets = drawn(0)
    found = scores(student, None, targets)
    assert found.pop("ece") is not None
    assert set(found.values()) == {None}
