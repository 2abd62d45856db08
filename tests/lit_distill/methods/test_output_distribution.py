"""OutputDistribution against loops over Transformers' own logits, and beside what it meets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from batches import collate, samples
from loss_cases import CASES
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.losses import AccumulationWindow, Divergence, ForwardKL, JensenShannon
from lit_distill.methods import OutputDistribution, SupervisedKD, TripleLoss
from lit_distill.models import LayerCopyStudent, TeacherSpec
from lit_distill.training.distillation import Distillation

BATCH = collate(samples(4, 100), extra=2)
COUNTS = {"asked": "rows", "all": "tokens"}


def built(method: Distillation, folder: Path, **student: Any) -> Distillation:
    """Ready for the batch, in float64; dropout is off."""
    teacher = TeacherSpec(str(folder)).build().double()
    method.teachers["teacher"] = teacher
    method.students["student"] = LayerCopyStudent(**student).build(teacher, 0).double()
    return method


def loss_and_gradient(method: Distillation, batch: Batch = BATCH) -> tuple[Tensor, Tensor]:
    window = AccumulationWindow.single(batch, progress=0.5)
    loss = window.total_loss(method.losses(batch, window))
    gradients = torch.autograd.grad(loss, list(method.student.parameters()), allow_unused=True)
    return loss.detach(), torch.cat([g.flatten() for g in gradients if g is not None])


def rows_of(model: Any, rows: Tensor) -> list[list[float]]:
    """Logits by Hugging Face's own forward."""
    out = model.model(input_ids=BATCH["input_ids"], attention_mask=BATCH["attention_mask"])
    found: list[list[float]] = out.logits.flatten(0, 1)[rows].tolist()
    return found


@pytest.mark.parametrize("positions", COUNTS)
@pytest.mark.parametrize("name", [n for n, c in CASES.items() if isinstance(c.loss, Divergence)])
def test_it_is_the_formula(tiny_bert: Path, name: str, positions: Any) -> None:
    case, spec = CASES[name], TeacherSpec(str(tiny_bert))
    method = built(OutputDistribution(case.loss, positions, teacher=spec), tiny_bert)
    loss, _ = loss_and_gradient(method)
    rows = BATCH[COUNTS[positions]]
    assert len(rows) < BATCH["input_ids"].numel()  # there is padding
    with torch.no_grad():
        pairs = zip(*(rows_of(m, rows) for m in (method.student, method.teacher)), strict=True)
        wanted = sum(case.formula(s, t, 0).real for s, t in pairs) / len(rows)
    assert loss.item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("positions", COUNTS)
def test_it_meets_the_triple_loss_and_supervised_kd(tiny_bert: Path, positions: Any) -> None:
    spec = TeacherSpec(str(tiny_bert))
    alone = {"alpha_mlm": 0.0, "alpha_cos": 0.0, "restrict_kd_to_mask": positions == "asked"}
    others = [TripleLoss(2.0, alpha_kd=1.0, teacher=spec, **alone)]
    if positions == "asked":
        others.append(SupervisedKD(ForwardKL(2.0), teacher=spec))
    ours = loss_and_gradient(
        built(OutputDistribution(ForwardKL(2.0), positions, teacher=spec), tiny_bert)
    )
    for other in others:
        for one, its in zip(ours, loss_and_gradient(built(other, tiny_bert)), strict=True):
            torch.testing.assert_close(one, its, rtol=1e-12, atol=1e-15)


def test_targets_are_not_read(tiny_bert: Path) -> None:
    spec = TeacherSpec(str(tiny_bert))
    other = Batch(**{**BATCH, "targets": BATCH["targets"].roll(1)})
    method = built(OutputDistribution(JensenShannon(), teacher=spec), tiny_bert)
    for one, its in zip(*(loss_and_gradient(method, b) for b in (BATCH, other)), strict=True):
        assert torch.equal(one, its)


@pytest.mark.parametrize("positions", COUNTS)
def test_a_copy_of_the_teacher_has_nothing_to_learn(tiny_bert: Path, positions: Any) -> None:
    method = OutputDistribution(ForwardKL(2.0), positions, teacher=TeacherSpec(str(tiny_bert)))
    count = len(TeacherSpec(str(tiny_bert)).build().layers)
    loss, gradient = loss_and_gradient(built(method, tiny_bert, num_layers=count))
    assert loss.abs() < 1e-15
    assert gradient.abs().max() < 1e-14
