"""How true a student is to its teacher, example by example: pure functions of what both say.

Loyalty is that of Xu et al. 2021 ("Beyond Preserved Accuracy"); what their paper calls probability
loyalty is here `1 - sqrt(JSD)` in bits, between 0 (nothing in common) and 1 (equal). A student can
be as right as its teacher and not be loyal, and the other way round: both are told.

Shapes: N rows, K labels. Numbers that are undefined (no rows, a constant) are None, never NaN.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Labels = NDArray[np.integer] | NDArray[np.floating]
"""Whole numbers, of any type."""


def label_loyalty(student: Labels, teacher: Labels) -> float | None:
    """The share of rows to which both give the same label.

    Args:
        student: labels (N,) that it gives.
        teacher: likewise.
    """
    return _mean(np.asarray(student) == np.asarray(teacher))


def jensen_shannon_distances(student: Floats, teacher: Floats) -> NDArray[np.float64]:
    """Distances (N,) of distributions in [0, 1]: square roots of the divergence in bits.

    `scipy.spatial.distance.jensenshannon` is the same number, already with the root and by default
    in nats; but it is NaN where rounding puts the divergence of two near distributions below 0.

    Args:
        student: log-probabilities (N, K).
        teacher: likewise.
    """
    from scipy.special import rel_entr  # 0 log 0 = 0

    p, q = np.exp(_double(teacher)), np.exp(_double(student))
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle) + rel_entr(q, middle)).sum(-1) / (2 * math.log(2))
    distances: NDArray[np.float64] = np.sqrt(np.clip(divergence, 0, 1))
    return distances


def probability_loyalty(student: Floats, teacher: Floats) -> float | None:
    """The mean of 1 - Jensen-Shannon distance (base 2): 1 where both are equally sure of all.

    Args:
        student: log-probabilities (N, K).
        teacher: likewise.
    """
    return _mean(1 - jensen_shannon_distances(student, teacher))


@dataclass(frozen=True)
class ValueLoyalty:
    """How near the numbers of two models are.

    Attributes:
        pearson: their correlation, which is blind to scale and offset: a student that says ten
            times as much has 1.
        mae: their mean absolute difference, in the unit of the values.
        ccc: Lin's concordance correlation, which is 1 only where all are equal.
    """

    pearson: float | None
    mae: float | None
    ccc: float | None


def value_loyalty(student: Floats, teacher: Floats) -> ValueLoyalty:
    """The loyalty of a regression.

    Args:
        student: numbers (N,).
        teacher: likewise.
    """
    import torch
    from torchmetrics.functional.regression import concordance_corrcoef

    ours, theirs = _double(student), _double(teacher)
    correlation = pearson(ours, theirs)
    concordance = None
    if correlation is not None:
        found = concordance_corrcoef(torch.from_numpy(ours), torch.from_numpy(theirs))
        concordance = float(found)
    return ValueLoyalty(correlation, _mean(np.abs(ours - theirs)), concordance)


def pearson(first: Floats, second: Floats) -> float | None:
    """Pearson's correlation by scipy; None of fewer than two rows, or where one is constant."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, first, second)


def spearman(first: Floats, second: Floats) -> float | None:
    """Spearman's correlation by scipy, equal values sharing their rank; None as of `pearson`."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, first, second)


def _correlation(of: Callable[..., Any], first: Floats, second: Floats) -> float | None:
    from scipy.stats import ConstantInputWarning, NearConstantInputWarning

    if len(first) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConstantInputWarning)
        warnings.simplefilter("error", NearConstantInputWarning)  # only rounding is left of it
        try:
            return float(of(first, second).statistic)
        except (ConstantInputWarning, NearConstantInputWarning):
            return None


def calibration_error(sure: Floats, right: NDArray[np.bool_], bins: int = 15) -> float | None:
    """The expected calibration error (Guo et al. 2017), by torchmetrics.

    How far sureness and rightness are apart, as a mean over bins.

    Args:
        sure: the probability (N,) of what was chosen.
        right: whether that was right (N,).
        bins: of equal width.
    """
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    if len(sure) == 0:
        return None
    chances = torch.from_numpy(_double(sure).clip(0, 1))  # of others it would take the sigmoid
    return float(binary_calibration_error(chances, torch.from_numpy(right).long(), n_bins=bins))


@dataclass(frozen=True)
class Errors:
    """Whose errors a student makes.

    Attributes:
        inherited: of the rows that both get wrong, the share to which both give the same wrong
            label: the teacher's error, learnt.
        invented: of the rows that the teacher gets right, the share that the student gets wrong.
        corrected: of the rows that the teacher gets wrong, the share that the student gets right.
    """

    inherited: float | None
    invented: float | None
    corrected: float | None


def errors(student: Labels, teacher: Labels, targets: Labels) -> Errors:
    """Inherited, invented and corrected errors.

    Args:
        student: labels (N,) that it gives.
        teacher: likewise.
        targets: right labels (N,).
    """
    wrong, taught_wrong = student != targets, teacher != targets
    return Errors(
        inherited=_mean((student == teacher)[wrong & taught_wrong]),
        invented=_mean(wrong[~taught_wrong]),
        corrected=_mean(~wrong[taught_wrong]),
    )


def _double(values: Floats) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None
