"""Every loss of rows beside its oracle: what the batteries of tests run over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from oracles import row_losses as oracle
from oracles import triple_loss

from lit_distill.losses import (
    AlphaBeta,
    CrossEntropy,
    Divergence,
    DynamicTemperatureKL,
    FocalLoss,
    ForwardKL,
    JensenShannon,
    LogitMSE,
    NormalisedKD,
    ReverseKL,
    RowLoss,
    SkewKL,
    SkewReverseKL,
    SmoothedCrossEntropy,
    SoftCrossEntropy,
    SymmetricCrossEntropy,
    TotalVariation,
)

IGNORED = -100


@dataclass(frozen=True)
class Case:
    """A loss, and its formula for student logits, teacher logits and target of one row."""

    loss: RowLoss
    formula: Callable[..., complex]


def soft(loss: RowLoss, formula: Callable[..., complex], factor: float = 1.0, **knobs: Any) -> Case:
    return Case(loss, lambda s, t, y: factor * formula(s, t, **knobs))


def hard(loss: RowLoss, formula: Callable[..., complex], **knobs: Any) -> Case:
    return Case(loss, lambda s, t, y: 0j if y == IGNORED else formula(s, y, **knobs))


CASES = {
    "kl": soft(ForwardKL(), triple_loss.forward_kl),
    "kl at 2.5": soft(ForwardKL(2.5), triple_loss.forward_kl, temperature=2.5),
    "kl at 3 without T^2": soft(
        ForwardKL(3.0, t_squared=False), triple_loss.forward_kl, temperature=3.0, t_squared=False
    ),
    "soft ce": soft(SoftCrossEntropy(2.0), oracle.soft_cross_entropy, 4.0, temperature=2.0),
    "reverse kl": soft(ReverseKL(), oracle.reverse_kl),
    "reverse kl at 2": soft(ReverseKL(2.0), oracle.reverse_kl, 4.0, temperature=2.0),
    "jsd": soft(JensenShannon(), oracle.jensen_shannon, beta=0.5),
    "jsd 0.1 at 2": soft(
        JensenShannon(0.1, temperature=2.0, t_squared=False),
        oracle.jensen_shannon,
        beta=0.1,
        temperature=2.0,
    ),
    "normalised jsd 0.9": soft(
        JensenShannon(0.9, normalised=True), oracle.jensen_shannon, 1 / 0.09, beta=0.9
    ),
    "skew kl": soft(SkewKL(), oracle.skew_kl, alpha=0.1),
    "skew kl 0.7 at 3": soft(
        SkewKL(0.7, temperature=3.0), oracle.skew_kl, 9.0, alpha=0.7, temperature=3.0
    ),
    "skew reverse kl": soft(SkewReverseKL(), oracle.skew_reverse_kl, alpha=0.1),
    "skew reverse kl 0.6 at 2": soft(
        SkewReverseKL(0.6, temperature=2.0), oracle.skew_reverse_kl, 4.0, alpha=0.6, temperature=2.0
    ),
    "total variation": soft(TotalVariation(), oracle.total_variation),
    "total variation at 2": soft(
        TotalVariation(2.0, t_squared=False), oracle.total_variation, temperature=2.0
    ),
    "alpha-beta": soft(AlphaBeta(), oracle.alpha_beta, alpha=0.5, beta=0.5),
    "alpha-beta 0.2 0.7 at 2": soft(
        AlphaBeta(0.2, 0.7, temperature=2.0),
        oracle.alpha_beta,
        4.0,
        alpha=0.2,
        beta=0.7,
        temperature=2.0,
    ),
    "alpha-beta 1 1": soft(AlphaBeta(1.0, 1.0), oracle.alpha_beta, alpha=1, beta=1),
    "ce": hard(CrossEntropy(), triple_loss.cross_entropy),
    "smoothed ce": hard(SmoothedCrossEntropy(), oracle.smoothed_cross_entropy, smoothing=0.1),
    "focal": hard(FocalLoss(), oracle.focal, gamma=2.0),
    "focal 0.5": hard(FocalLoss(0.5), oracle.focal, gamma=0.5),
    "symmetric ce": hard(
        SymmetricCrossEntropy(), oracle.symmetric_cross_entropy, alpha=0.1, beta=1.0, log_zero=-4.0
    ),
    "dynamic temperature": soft(
        DynamicTemperatureKL().around(0.7),
        oracle.dynamic_temperature_kl,
        64.0,
        mean=0.7,
        temperature=8.0,
    ),
    "dynamic temperature without T^2": soft(
        DynamicTemperatureKL(3.0, 0.5, 2.0, t_squared=False).around(1.3),
        oracle.dynamic_temperature_kl,
        mean=1.3,
        temperature=3.0,
        beta=0.5,
        gamma=2.0,
    ),
    "mse": soft(LogitMSE(), triple_loss.squared_distance),
    "nkd": Case(
        NormalisedKD(1.5, 2.0),
        lambda s, t, y: 0j if y == IGNORED else oracle.normalised_kd(s, t, y, 1.5, 2.0),
    ),
}
DIVERGENCES = {
    name: case.loss
    for name, case in CASES.items()
    if isinstance(case.loss, Divergence) and not isinstance(case.loss, SoftCrossEntropy)
}
every_loss = pytest.mark.parametrize(
    ("loss", "formula"), [(c.loss, c.formula) for c in CASES.values()], ids=CASES.keys()
)
every_divergence = pytest.mark.parametrize("loss", DIVERGENCES.values(), ids=DIVERGENCES.keys())
