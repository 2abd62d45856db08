"""How true a student is to its teacher: identities, closed forms, numbers of the libraries."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from torchmetrics.functional.classification import multiclass_calibration_error

from lit_distill.measures import fidelity


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def distributions(random: np.random.Generator, rows: int = 200, labels: int = 5) -> np.ndarray:
    return np.log(random.dirichlet(np.ones(labels), rows))


def test_a_student_is_wholly_loyal_to_itself(random: np.random.Generator) -> None:
    own = distributions(random)
    assert fidelity.label_loyalty(own.argmax(-1), own.argmax(-1)) == 1
    assert fidelity.probability_loyalty(own, own) == 1
    values = random.normal(size=50)
    found = fidelity.value_loyalty(values, values)
    assert (found.pearson, found.mae, found.ccc) == (pytest.approx(1), 0, pytest.approx(1))


def test_permuted_classes_have_a_closed_form() -> None:
    """p on one label and the rest on the next, and the other way round: JSD = 1 - H(p) in bits."""
    p = 0.8
    teacher = np.log([[p, 1 - p]] * 3)
    entropy = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    wanted = 1 - math.sqrt(1 - entropy)
    assert fidelity.probability_loyalty(teacher[:, ::-1], teacher) == pytest.approx(wanted)
    assert fidelity.label_loyalty(teacher[:, ::-1].argmax(-1), teacher.argmax(-1)) == 0
    with np.errstate(divide="ignore"):
        certain = np.log(np.eye(4))
    shifted = np.roll(certain, 1, axis=1)
    assert fidelity.probability_loyalty(shifted, certain) == 0  # nothing in common, in bits


def test_two_equal_teachers_are_one(random: np.random.Generator) -> None:
    student, teacher = distributions(random), distributions(random)
    both = np.logaddexp(teacher, teacher) - math.log(2)
    one = fidelity.probability_loyalty(student, teacher)
    assert fidelity.probability_loyalty(student, both) == pytest.approx(one, abs=1e-12)


def test_the_distance_is_that_of_scipy_and_never_nan(random: np.random.Generator) -> None:
    for _ in range(1000):
        p, q = random.dirichlet(np.full(4, 0.3), (2, 5)) * random.integers(0, 2, (2, 5, 4))
        p, q = (p + 1e-3) / (p + 1e-3).sum(-1, keepdims=True), (q + 1e-9)
        q /= q.sum(-1, keepdims=True)
        found = fidelity.jensen_shannon_distances(np.log(p), np.log(q))
        assert found == pytest.approx(jensenshannon(p, q, base=2, axis=-1), abs=1e-12)
    p = random.dirichlet(np.ones(8), 5000)
    q = p * (1 + random.normal(0, 1e-9, p.shape))
    near = fidelity.jensen_shannon_distances(np.log(p), np.log(q / q.sum(-1, keepdims=True)))
    assert np.isfinite(near).all()
    assert near.max() < 1e-7


def test_correlation_alone_is_blind_to_scale(random: np.random.Generator) -> None:
    teacher = random.normal(size=400)
    found = fidelity.value_loyalty(10 * teacher + 3, teacher)
    assert found.pearson == pytest.approx(1)
    assert found.mae == pytest.approx(np.abs(9 * teacher + 3).mean())
    variance, mean = teacher.var(ddof=1), teacher.mean()
    wanted = 2 * 10 * variance / (101 * variance + (9 * mean + 3) ** 2)  # Lin (1989)
    assert found.ccc == pytest.approx(wanted)


def test_calibration_is_that_of_torchmetrics(random: np.random.Generator) -> None:
    import torch

    for _ in range(20):
        own, right = distributions(random, 100, 3), random.integers(0, 3, 100)
        chances = torch.from_numpy(np.exp(own))
        wanted = multiclass_calibration_error(chances, torch.from_numpy(right), 3, n_bins=15)
        sure, hits = np.exp(own).max(-1), own.argmax(-1) == right
        assert fidelity.calibration_error(sure, hits) == pytest.approx(float(wanted), abs=1e-6)
    always, never = np.ones(10), np.zeros(10, dtype=bool)
    assert fidelity.calibration_error(always + 1e-9, never) == 1  # rounding makes no logit of it


def test_whose_errors_they_are() -> None:
    right = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    teacher = np.array([0, 0, 0, 1, 1, 1, 2, 2])  # wrong on three
    student = np.array([0, 0, 2, 1, 1, 1, 2, 1])  # one invented, two inherited of two, one right
    found = fidelity.errors(student, teacher, right)
    assert found.inherited == 1
    assert found.invented == pytest.approx(1 / 5)
    assert found.corrected == pytest.approx(1 / 3)
    other = np.where(student == 2, 0, student)
    assert fidelity.errors(np.where(right == 1, 0, other), teacher, right).inherited == 1 / 3
    same = fidelity.errors(teacher, teacher, right)
    assert (same.inherited, same.invented, same.corrected) == (1, 0, 0)


def test_what_is_undefined_is_none() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert fidelity.label_loyalty(nothing, nothing) is None
    assert fidelity.probability_loyalty(np.zeros((0, 3)), np.zeros((0, 3))) is None
    assert fidelity.calibration_error(nothing, nothing == 0) is None
    one = np.array([1])
    assert fidelity.errors(one, one, one).inherited is None
    constant = fidelity.value_loyalty(np.ones(5), np.arange(5.0))
    assert (constant.pearson, constant.mae, constant.ccc) == (None, 1.4, None)


def test_importing_it_imports_no_library_of_evaluation() -> None:
    import subprocess

    code = (
        "import sys, importlib.util as u;"
        f"s = u.spec_from_file_location('fidelity', {fidelity.__file__!r});"
        "m = u.module_from_spec(s); sys.modules['fidelity'] = m; s.loader.exec_module(m);"
        "assert not {'scipy', 'sklearn', 'torchmetrics', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
