"""Losses of the first step in float64, written out with PyTorch's elementary functions.

They share models and batches with the benchmarks and nothing with `lit_distill.losses`; the tests
compare them with oracles that are loops over single numbers.
"""

from __future__ import annotations

import causal_step
import mutual_step
import relation_step
import triple_loss_step
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel
from triple_loss_step import ALPHA_CE, ALPHA_COS, ALPHA_MLM, TEMPERATURE


def triple_loss(work: triple_loss_step.Workload) -> float:
    """alpha_kd T^2 KL + alpha_mlm CE + alpha_cos (1 - cos), means over what each counts."""
    teacher, student = _exact(work.models())
    theirs, mine = work.hidden(teacher), work.hidden(student)
    logits = student.cls(work.selected(mine))
    kl = _kl(teacher.cls(work.selected(theirs)) / TEMPERATURE, logits / TEMPERATURE)
    ce = functional.cross_entropy(logits, work.targets)
    cos = 1 - functional.cosine_similarity(mine, theirs).mean()
    return float(ALPHA_CE * TEMPERATURE**2 * kl + ALPHA_MLM * ce + ALPHA_COS * cos)


def teacher_entropy(work: triple_loss_step.Workload) -> float:
    """alpha_kd T^2 H(p_T): what a soft cross-entropy has more than a KL."""
    teacher, _ = _exact(work.models())
    log_p = (teacher.cls(work.selected(work.hidden(teacher))) / TEMPERATURE).log_softmax(-1)
    entropy = -(log_p.exp() * log_p).sum(-1).mean()
    return float(ALPHA_CE * TEMPERATURE**2 * entropy)


def forward_kl(work: causal_step.Workload) -> float:
    """Mean KL over the completion's rows."""
    teacher, student = _exact(work.models())
    heads = (model.lm_head(work.hidden(model)) for model in (teacher, student))
    return float(_kl(*heads))


def relations(work: relation_step.Workload) -> float:
    """Sum over queries, keys and values of the mean KL between their relations."""
    teacher, student = _exact(work.models())
    ends = work.layer, work.layers[1]
    sides = [
        relation_step.projected(model, work.batch, number)
        for model, number in zip((teacher, student), ends, strict=True)
    ]
    total = 0.0
    for theirs, mine in zip(*sides, strict=True):
        scores = []
        for x in (theirs, mine):
            heads = x.unflatten(-1, (work.heads, -1)).transpose(1, 2)
            scores.append(heads @ heads.mT / heads.shape[-1] ** 0.5)
        total += float(_kl(*scores))
    return total


def mutual(work: triple_loss_step.Workload) -> float:
    """Both models' CE, and T^2 KL in both directions at T."""
    models, targets = _exact(work.models()), mutual_step.labels(work)
    one, other = (model.cls(work.selected(work.hidden(model))) for model in models)
    hard = sum(functional.cross_entropy(each, targets) for each in (one, other))
    cooler = [each / mutual_step.TEMPERATURE for each in (one, other)]
    soft = _kl(*cooler) + _kl(*cooler[::-1])
    return float(hard + mutual_step.TEMPERATURE**2 * soft)


def _exact(models: tuple[PreTrainedModel, ...]) -> tuple[PreTrainedModel, ...]:
    return tuple(model.double().requires_grad_(False) for model in models)


def _kl(teacher: Tensor, student: Tensor) -> Tensor:
    """Mean over all but the last dimension of sum_v p_v (log p_v - log q_v)."""
    log_p, log_q = teacher.log_softmax(-1), student.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean()
