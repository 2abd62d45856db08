"""SupervisedKD against loops over the models' own logits, and beside the methods it meets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from batches import collate, samples
from loss_cases import CASES

from lit_distill.batch import Batch
from lit_distill.losses import AccumulationWindow, CrossEntropy, Divergence, ForwardKL
from lit_distill.methods import MaskedLM, SupervisedKD, TripleLoss
from lit_distill.models import LayerCopyStudent, TeacherSpec
from lit_distill.training.distillation import Distillation

BATCH = collate(samples(4, 100), extra=2)


def built(method: Distillation, folder: Path) -> Distillation:
    """Ready for the batch, in float64; dropout is off."""
    teacher = TeacherSpec(str(folder)).build().double()
    method.teachers["teacher"] = teacher
    method.students["student"] = LayerCopyStudent().build(teacher, 0).double()
    return method


def loss_and_gradient(method: Distillation) -> tuple[torch.Tensor, torch.Tensor]:
    window = AccumulationWindow.single(BATCH, progress=0.5)
    loss = window.total_loss(method.losses(BATCH, window))
    gradients = torch.autograd.grad(loss, list(method.student.parameters()))
    return loss.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def rows_of(model: Any, batch: Batch) -> torch.Tensor:
    """Logits by Hugging Face's own forward."""
    out = model.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    return out.logits.flatten(0, 1)[batch["rows"]]


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if isinstance(c.loss, Divergence)])
def test_it_is_the_formula(tiny_bert: Path, name: str) -> None:
    case = CASES[name]
    method = built(
        SupervisedKD(case.loss, alpha_kd=0.7, alpha_hard=0.4, teacher=TeacherSpec(str(tiny_bert))),
        tiny_bert,
    )
    loss, _ = loss_and_gradient(method)
    with torch.no_grad():
        student, teacher = (rows_of(m, BATCH).tolist() for m in (method.student, method.teacher))
    targets = BATCH["targets"].tolist()
    kd = sum(case.formula(s, t, y).real for s, t, y in zip(student, teacher, targets, strict=True))
    hard = sum(CASES["ce"].formula(s, [], y).real for s, y in zip(student, targets, strict=True))
    assert loss.item() == pytest.approx((0.7 * kd + 0.4 * hard) / len(targets), rel=1e-12)


def test_it_meets_the_triple_loss_and_its_control(tiny_bert: Path) -> None:
    spec = TeacherSpec(str(tiny_bert))
    triple = TripleLoss(
        2.0, alpha_kd=3.0, alpha_mlm=0.5, alpha_cos=0.0, restrict_kd_to_mask=True, teacher=spec
    )
    ours = SupervisedKD(ForwardKL(2.0), alpha_kd=3.0, alpha_hard=0.5, teacher=spec)
    control = SupervisedKD(alpha_kd=0.0, alpha_hard=1.0, hard=CrossEntropy(), teacher=spec)
    for one, other in ((triple, ours), (MaskedLM(), control)):
        pair = [loss_and_gradient(built(method, tiny_bert)) for method in (one, other)]
        torch.testing.assert_close(*(loss for loss, _ in pair), rtol=1e-12, atol=0)
        torch.testing.assert_close(*(gradient for _, gradient in pair), rtol=1e-9, atol=1e-14)
